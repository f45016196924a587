"use strict";
// Asks for the numbers once a second, keeps the last minutes of them in rings of fixed size, and draws.
// Names and texts of others reach the document as text only, never as markup.

const $ = (id) => document.getElementById(id);
const base = document.body.dataset.uri, scope = document.body.dataset.scope;
const source = base + ";live-data" + (scope ? "?scope=" + scope : "");
const PERIOD = 1000, PATIENCE = 5000, ROWS_MAX = 2000, CHIPS_MAX = 24, RING_BYTES = 48e6;
const el = (tag, cls, text) => {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text;
  return e;
};
const put = (e, text) => { if (e.textContent !== text) e.textContent = text; };

// ------------------------------------------------------------------ numbers

const group = (n) => n.toLocaleString("en").replace(/,/g, "\u202f");
const scaled = (n, units, by) => {
  let at = 0;
  while (n >= by && at + 1 < units.length) { n /= by; at++; }
  return (at && n < 9.95 ? n.toFixed(1) : n < 9.95 && n % 1 ? n.toFixed(1) : group(Math.round(n))) + units[at];
};
const bare = (n) => n === null || n !== n ? "–" : n < 1e5 ? scaled(n, [""], 1e9) : scaled(n, ["", "\u202fk", "\u202fM", "\u202fG"], 1000);
const bits = (n) => n === null || n !== n ? "–" : scaled(n * 8, ["\u202fb/s", "\u202fkb/s", "\u202fMb/s", "\u202fGb/s", "\u202fTb/s"], 1000);
const bytes = (n) => scaled(n, ["\u202fB", "\u202fkB", "\u202fMB", "\u202fGB", "\u202fTB"], 1024);
const ms = (n) => n === null || n !== n ? "–" : n >= 9950 ? scaled(n / 1000, ["\u202fs"], 1e9)
  : n >= 1000 ? (n / 1000).toFixed(2) + "\u202fs" : n >= 10 || n === 0 ? Math.round(n) + "\u202fms" : +n.toFixed(n < 1 ? 2 : 1) + "\u202fms";
const age = (s) => s >= 86400 ? `${s / 86400 | 0}d${s / 3600 % 24 | 0}h` : s >= 3600 ? `${s / 3600 | 0}h${s / 60 % 60 | 0}m`
  : s >= 60 ? `${s / 60 | 0}m${s % 60 | 0}s` : `${s | 0}s`;
const clock = (t) => new Date(t).toTimeString().slice(0, 8);

// ------------------------------------------------------------------ what is kept

// Counters that become a number a second; the gauges are kept as they are.
const COUNTERS = ["req_tot", "stot", "hrsp_5xx", "hrsp_4xx", "econ", "eresp", "ereq", "denied", "bin", "bout"];
const GAUGES = ["scur", "qcur", "qtime", "ctime", "rtime", "ttime"];
const STEPS = [["p50", "p50"], ["p90", "p90"], ["p99", "p99"], ["p999", "p99.9"]];
const TIMES = [["ttime", "total"], ["rtime", "response"], ["ctime", "connect"], ["qtime", "queue"]];

const series = new Map();   // by name: the rings and the last row
let fields = [];            // what a ring is kept for
let quantiles = false;      // there are columns of percentiles
let length = 0;             // places of a ring, once the first answer told how many rows there are
let at = -1, filled = 0;    // newest place, places in use
let latest = -1;            // newest place with numbers: others stand where nobody answered
let when = null;            // by place: milliseconds of the browser's steady clock
let marks = [];             // [time, what happened]
let pid = 0, info = null, order = [], cut = 0, lastTime = 0;

function parse(text) {
  const eol = text.indexOf("\n");
  const process = JSON.parse(text.slice(0, eol));
  const lines = text.slice(eol + 1).split("\n");
  if (!lines[0].startsWith("# pxname")) throw Error("no statistics");
  const names = lines[0].slice(2).split(",");
  const rows = [];
  for (let n = 1; n < lines.length; n++) {
    if (!lines[n]) continue;
    let line = lines[n];
    // A quoted field may hold line feeds.
    while ((line.split('"').length & 1) === 0 && n + 1 < lines.length) line += "\n" + lines[++n];
    const values = line.includes('"') ? quoted(line) : line.split(",");
    const row = {};
    names.forEach((name, i) => { if (name) row[name] = values[i] || ""; });
    rows.push(row);
  }
  return { process, names, rows };
}

function quoted(line) {
  const out = [];
  const field = /"((?:[^"]|"")*)"(?:,|$)|([^,]*)(?:,|$)/gy;
  while (field.lastIndex < line.length) {
    const m = field.exec(line);
    out.push(m[1] !== undefined ? m[1].replace(/""/g, '"') : m[2]);
  }
  return out;
}

const num = (row, name) => row[name] === undefined || row[name] === "" ? NaN : +row[name];

function begin(names, count) {
  quantiles = names.includes("ttime_p50_us");
  fields = ["rate", "err"].concat(COUNTERS, GAUGES);
  if (quantiles) for (const [t] of TIMES) for (const [q] of STEPS) fields.push(t + "_" + q + "_us");
  length = Math.max(120, Math.min(660, RING_BYTES / 4 / fields.length / Math.max(1, count) | 0));
  when = new Float64Array(length).fill(NaN);
}

function ringsOf() {
  const rings = {};
  for (const f of fields) rings[f] = new Float32Array(length).fill(NaN);
  return rings;
}

// A place nobody has numbers for: lines are broken there.
function gap() {
  if (!length) return;
  step(performance.now());
  for (const s of series.values()) for (const f of fields) s.rings[f][at] = NaN;
}

function step(now) {
  at = (at + 1) % length;
  filled = Math.min(filled + 1, length);
  when[at] = now;
}

function take({ process, names, rows }, now) {
  if (!length) begin(names, rows.length);
  const fresh = process.pid !== pid;
  if (fresh && pid) {
    marks.push([now, "new process " + process.pid]);
    marks = marks.slice(-20);
  }
  const restarted = fresh || (info && process.up < info.up - 2);
  pid = process.pid;
  info = process;
  const dt = (now - lastTime) / 1000;
  lastTime = now;
  step(now);
  latest = at;
  cut = Math.max(0, rows.length - ROWS_MAX);
  const seen = new Set();
  const before = order.join("\n");
  order = [];
  for (const row of rows.slice(0, ROWS_MAX)) {
    const key = row.pxname + "/" + row.svname;
    seen.add(key);
    order.push(key);
    let s = series.get(key);
    if (!s) {
      s = { key, rings: ringsOf(), counts: null, row };
      series.set(key, s);
    }
    keep(s, row, restarted, dt);
  }
  // What is gone from the configuration goes from here too.
  for (const key of series.keys()) if (!seen.has(key)) series.delete(key);
  return before !== order.join("\n");
}

function keep(s, row, restarted, dt) {
  s.row = row;
  row.denied = (num(row, "dreq") || 0) + (num(row, "dresp") || 0);
  const counts = COUNTERS.map((name) => num(row, name));
  // Counters that went back were cleared, or are those of another process: the next second tells the rate again.
  const back = !s.counts || restarted || counts.some((n, i) => n < s.counts[i]);
  COUNTERS.forEach((name, i) => { s.rings[name][at] = back || !(dt > 0) ? NaN : (counts[i] - s.counts[i]) / dt; });
  s.counts = counts;
  for (const name of fields) {
    // Percentiles come in microseconds, averages in milliseconds.
    if (name.endsWith("_us")) s.rings[name][at] = num(row, name) / 1000;
    else if (!COUNTERS.includes(name)) s.rings[name][at] = num(row, name);
  }
  const r = s.rings, here = (name) => r[name][at];
  r.rate[at] = here(http(row) ? "req_tot" : "stot");
  // A connection that failed is told to the client by a 503: it counts once.
  r.err[at] = Math.max(here("hrsp_5xx") || 0, (here("econ") || 0) + (here("eresp") || 0));
  if (back) r.err[at] = NaN;
}

const http = (row) => row.mode === "http" && row.req_tot !== "";
const last = (s, f) => s && filled ? s.rings[f][latest] : NaN;

// ------------------------------------------------------------------ states

// class, shape, rank of trouble
const STATES = [
  [/^(UP|OPEN)$/, "up", "▲", 0], [/^UP /, "go", "◐", 2], [/^no check/, "none", "○", 0],
  [/^(DRAIN|NOLB)/, "drain", "◆", 1], [/^MAINT/, "maint", "■", 1], [/^(DOWN|STOP)/, "down", "▼", 3], [/./, "go", "◐", 2],
];
const stateOf = (row) => STATES.find(([re]) => re.test(row.status || "UP"));

// ------------------------------------------------------------------ drawing

let palette = {};
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["fg", "mute", "line", "card", "c1", "c2", "c3", "c4", "c5", "c6", "bad"]) palette[name] = style.getPropertyValue("--" + name).trim();
}

const windowMs = () => +$("span").value * 1000;

function size(canvas) {
  const dpr = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  const W = Math.round(w * dpr), H = Math.round(h * dpr);
  if (canvas.width !== W || canvas.height !== H) { canvas.width = W; canvas.height = H; }
  const g = canvas.getContext("2d");
  g.setTransform(dpr, 0, 0, dpr, 0, 0);
  g.clearRect(0, 0, w, h);
  return [g, w, h];
}

function* places(from) {
  for (let n = filled - 1; n >= 0; n--) {
    const i = (at - n + length) % length;
    if (when[i] >= from) yield i;
  }
}

function niceMax(max) {
  if (!(max > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(max));
  const step = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((s) => s * power >= max * 1.0001);
  return step * power;
}

// One line of numbers into the path; broken where there are none.
function trace(g, ring, from, x, y) {
  let drawn = false, lone = null;
  g.beginPath();
  for (const i of places(from)) {
    const v = ring[i];
    if (v !== v) { if (lone) g.arc(lone[0], lone[1], 1, 0, 7); drawn = false; lone = null; continue; }
    const X = x(when[i]), Y = y(v);
    if (drawn) { g.lineTo(X, Y); lone = null; } else { g.moveTo(X, Y); lone = [X, Y]; }
    drawn = true;
  }
}

function fillUnder(g, ring, from, x, y, floor) {
  let first = null, lastX = 0;
  g.beginPath();
  const close = () => { if (first !== null) { g.lineTo(lastX, floor); g.lineTo(first, floor); } first = null; };
  for (const i of places(from)) {
    const v = ring[i];
    if (v !== v) { close(); continue; }
    lastX = x(when[i]);
    if (first === null) { first = lastX; g.moveTo(lastX, floor); }
    g.lineTo(lastX, y(v));
  }
  close();
  g.fill();
}

let hover = null;   // time under the pointer

function chart(c) {
  const s = series.get(chosen);
  const [g, w, h] = size(c.canvas);
  const now = filled ? when[at] : performance.now(), span = windowMs(), from = now - span;
  const left = 46, right = 6, top = 6, bottom = 18, floor = h - bottom;
  const x = (t) => left + (w - left - right) * (t - from) / span;
  let max = 0, min = Infinity, points = 0;
  if (s) for (const line of c.lines) for (const i of places(from)) {
    const v = s.rings[line.field][i];
    if (v === v) { points++; if (v > max) max = v; if (v > 0 && v < min) min = v; }
  }
  c.canvas.dataset.points = points;
  const font = "11px " + getComputedStyle(document.body).fontFamily;
  let y, ticks;
  if (c.log) {
    const low = Math.floor(Math.log10(Math.max(min === Infinity ? 1 : min, 0.01)) - 0.001);
    const high = Math.max(Math.ceil(Math.log10(Math.max(max, 0.01))), low + 1);
    y = (v) => floor - (floor - top) * (Math.max(Math.log10(Math.max(v, 1e-9)), low) - low) / (high - low);
    ticks = [];
    for (let e = low; e <= high; e++) ticks.push(10 ** e);
  } else {
    const whole = niceMax(max);
    y = (v) => floor - (floor - top) * v / whole;
    ticks = [0, whole / 2, whole];
  }
  g.font = font;
  g.textBaseline = "middle";
  g.lineWidth = 1;
  for (const t of ticks) {
    const Y = Math.round(y(t)) + 0.5;
    g.strokeStyle = palette.line;
    g.beginPath(); g.moveTo(left, Y); g.lineTo(w - right, Y); g.stroke();
    g.fillStyle = palette.mute;
    g.textAlign = "right";
    g.fillText(c.unit(t).replace("/s", ""), left - 5, Y);
  }
  const every = span / 1000 <= 120 ? 30 : span / 1000 <= 300 ? 60 : 120;
  g.textAlign = "center";
  for (let ago = 0; ago <= span / 1000; ago += every) {
    const X = x(now - ago * 1000);
    if (X < left - 1) break;
    g.fillStyle = palette.mute;
    g.textAlign = ago ? X < left + 14 ? "left" : "center" : "right";
    g.fillText(ago ? "−" + (ago % 60 ? ago + "s" : ago / 60 + "m") : "now", ago ? X : w - right, h - 8);
  }
  g.save();
  g.beginPath(); g.rect(left, 0, w - left - right, floor + 1); g.clip();
  for (const [t, what] of marks) if (t >= from) {
    g.strokeStyle = palette.mute; g.setLineDash([2, 3]);
    g.beginPath(); g.moveTo(x(t), top); g.lineTo(x(t), floor); g.stroke(); g.setLineDash([]);
    g.fillStyle = palette.mute; g.textAlign = x(t) > w / 2 ? "right" : "left";
    g.fillText(what, x(t) + (x(t) > w / 2 ? -4 : 4), top + 6);
  }
  if (s) c.lines.forEach((line, n) => {
    const color = palette[line.color], ring = s.rings[line.field];
    if (n === 0 && !c.log) {
      g.globalAlpha = 0.16; g.fillStyle = color;
      fillUnder(g, ring, from, x, y, floor);
      g.globalAlpha = 1;
    }
    g.strokeStyle = color; g.lineWidth = 1.8; g.lineJoin = "round";
    g.setLineDash(line.dash || []);
    trace(g, ring, from, x, y);
    g.stroke();
    g.setLineDash([]);
  });
  const shown = hover === null ? latest : nearest(hover);
  if (hover !== null && filled) {
    g.strokeStyle = palette.fg; g.lineWidth = 1;
    g.beginPath(); g.moveTo(x(when[shown]), top); g.lineTo(x(when[shown]), floor); g.stroke();
  }
  g.restore();
  for (const line of c.lines) put(line.value, s && filled ? c.unit(s.rings[line.field][shown]) : "–");
  c.canvas.setAttribute("aria-label", c.title + ": " + c.lines.map((l) => l.name + " " + l.value.textContent).join(", "));
}

function nearest(t) {
  let best = at, far = Infinity;
  for (const i of places(-Infinity)) {
    const d = Math.abs(when[i] - t);
    if (d < far) { far = d; best = i; }
  }
  return best;
}

function spark(card) {
  const [g, w, h] = size(card.canvas);
  const s = card.main, now = filled ? when[at] : 0, span = windowMs(), from = now - span;
  let max = 0, bad = 0, points = 0;
  for (const i of places(from)) {
    const v = s.rings.rate[i], e = card.fails.rings.err[i];
    if (v === v) { points++; max = Math.max(max, v); }
    if (e === e) bad = Math.max(bad, e);
  }
  card.canvas.dataset.points = points;
  const top = Math.max(max, bad, 1) * 1.08;
  const x = (t) => w * (t - from) / span, y = (v) => h - 1.5 - (h - 4) * v / top;
  g.strokeStyle = palette.line; g.lineWidth = 1;
  g.beginPath(); g.moveTo(0, h - 0.5); g.lineTo(w, h - 0.5); g.stroke();
  g.fillStyle = palette.c1; g.globalAlpha = 0.16;
  fillUnder(g, s.rings.rate, from, x, y, h);
  g.globalAlpha = 1;
  g.strokeStyle = palette.c1; g.lineWidth = 1.6; g.lineJoin = "round";
  trace(g, s.rings.rate, from, x, y); g.stroke();
  if (bad > 0) {
    g.fillStyle = palette.bad; g.globalAlpha = 0.35;
    fillUnder(g, card.fails.rings.err, from, x, y, h);
    g.globalAlpha = 1; g.strokeStyle = palette.bad;
    trace(g, card.fails.rings.err, from, x, y); g.stroke();
  }
  put(card.peak, "peak " + bare(max) + "/s");
}

// ------------------------------------------------------------------ the chosen one

let chosen = "", charts = [], focusFor = "", timeShown = "ttime";

function lines(list) {
  return list.map(([field, name, color, dash]) => ({ field, name, color, dash, value: el("b") }));
}

function figure(title, unit, list, wide, log) {
  const c = { title, unit, lines: lines(list), log };
  const f = el("figure", wide ? "wide" : "");
  const caption = el("figcaption"), keys = el("p", "keys");
  caption.append(el("span", "", title));
  for (const line of c.lines) {
    const key = el("span", "key"), swatch = el("i", line.dash ? "dashed" : "");
    swatch.style.color = "var(--" + line.color + ")";
    key.append(swatch, line.name + " ", line.value);
    keys.append(key);
  }
  c.canvas = el("canvas");
  c.canvas.setAttribute("role", "img");
  c.canvas.onpointermove = c.canvas.onpointerdown = (e) => {
    const box = c.canvas.getBoundingClientRect(), share = (e.clientX - box.left - 46) / (box.width - 52);
    hover = filled ? when[at] - windowMs() * (1 - Math.min(1, Math.max(0, share))) : null;
    focusDraw();
  };
  c.canvas.onpointerleave = c.canvas.onpointercancel = () => { hover = null; focusDraw(); };
  f.append(caption, keys, c.canvas);
  c.caption = caption;
  charts.push(c);
  return f;
}

function focusBuild() {
  const s = series.get(chosen), host = $("focus");
  charts = [];
  host.replaceChildren();
  focusFor = chosen;
  host.hidden = !s;
  if (!s) return;
  const row = s.row, web = http(row);
  const head = el("h2");
  const chip = el("span", "chip");
  chip.id = "is";
  head.append(el("span", "", title(row)), chip);
  const about = el("small");
  about.id = "about";
  head.append(about);
  const grid = el("div", "charts");
  const front = row.svname === "FRONTEND";
  grid.append(figure("Rate", (n) => bare(n) + "/s", web
    ? [["req_tot", "requests", "c1"], ["stot", "sessions", "c2", [5, 3]]] : [["stot", "sessions", "c1"]]));
  const wrong = web ? [["hrsp_5xx", "5xx", "bad"], ["hrsp_4xx", "4xx", "c3", [5, 3]]] : [];
  if (!isNaN(num(row, "econ"))) wrong.push(["econ", "connect", "c2", [2, 2]], ["eresp", "response", "c4", [8, 3]]);
  if (front) wrong.push(["ereq", "request", "c2", [2, 2]], ["denied", "denied", "c5", [8, 3]]);
  grid.append(figure("Errors", (n) => bare(n) + "/s", wrong));
  const open = [["scur", "open", "c1"]];
  if (!front) open.push(["qcur", "queued", "bad", [5, 3]]);
  grid.append(figure("Sessions", bare, open));
  const timed = quantiles ? row.type !== "3" : !isNaN(num(row, "ttime"));
  if (quantiles && timed) {
    const name = TIMES.find(([t]) => t === timeShown)[1];
    const f = figure("Latency", ms, STEPS.map(([q, shown], n) => [timeShown + "_" + q + "_us", shown, ["c1", "c5", "c3", "bad"][n], n ? [[8, 3], [5, 3], [2, 2]][n - 1] : undefined]), true, true);
    const pick = el("select");
    pick.setAttribute("aria-label", "which time");
    for (const [t, shown] of TIMES) pick.append(new Option(shown, t, t === timeShown, t === timeShown));
    pick.onchange = () => { timeShown = pick.value; focusBuild(); focusDraw(); };
    f.querySelector("figcaption").append(pick);
    grid.append(f);
  } else if (timed) {
    grid.append(figure("Latency, averages of the last 1024", ms,
      [["ttime", "total", "c1"], ["rtime", "response", "c5", [8, 3]], ["ctime", "connect", "c3", [5, 3]], ["qtime", "queue", "bad", [2, 2]]], true, true));
  }
  if (!timed) grid.classList.add("four");
  grid.append(figure("Traffic", bits, [["bout", "to clients", "c1"], ["bin", "from clients", "c2", [5, 3]]]));
  host.append(head, grid);
}

const title = (row) => row.pxname + (row.svname === "FRONTEND" ? " frontend" : row.svname === "BACKEND" ? " backend" : " / " + row.svname);

function mark(chip, row) {
  const [, cls, shape] = stateOf(row);
  chip.className = "chip " + cls;
  put(chip, shape + " " + (row.status || "listening"));
}

function about(row) {
  const parts = [];
  if (row.lastchg) parts.push("for " + age(+row.lastchg));
  if (row.check_status) parts.push([row.check_status, row.check_code, row.last_chk].filter(Boolean).join(" "));
  const left = leaving(row);
  if (left) parts.push(left);
  return parts.join(" · ");
}

// How far a server is with giving its connections up.
function leaving(row) {
  if (!/^(DRAIN|MAINT|NOLB)/.test(row.status)) return "";
  const told = (info.leaving || []).find((l) => l.px === row.pxname && l.sv === row.svname);
  const left = told ? told.left : +row.scur || 0;
  if (!left) return "no connection left";
  return left + (left === 1 ? " connection" : " connections") + " left" + (told && told.oldest >= 0 ? ", the oldest " + age(told.oldest / 1000) : "");
}

function focusDraw() {
  if (focusFor !== chosen) focusBuild();
  const s = series.get(chosen);
  $("focus").hidden = !s;
  if (!s) return;
  mark($("is"), s.row);
  put($("about"), about(s.row) + (s.row.weight ? " · weight " + s.row.weight : ""));
  charts.forEach(chart);
}

function choose(key) {
  chosen = key;
  $("pick").value = key;
  history.replaceState(null, "", key ? "#" + encodeURIComponent(key) : "#wall");
  for (const card of cards) card.box.classList.toggle("on", card.keys.includes(key));
  focusDraw();
}

// ------------------------------------------------------------------ the wall

let cards = [];
const visible = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const e of entries) e.isIntersecting ? visible.add(e.target) : visible.delete(e.target);
  wallDraw();
}, { rootMargin: "200px" });

function wallBuild() {
  const host = $("wall"), pick = $("pick");
  watcher.disconnect();
  visible.clear();
  host.replaceChildren();
  pick.replaceChildren(new Option("the wall only", ""));
  cards = [];
  const proxies = new Map();
  for (const key of order) {
    const { row } = series.get(key);
    if (!proxies.has(row.pxname)) proxies.set(row.pxname, []);
    proxies.get(row.pxname).push(key);
  }
  for (const [name, keys] of proxies) {
    const choices = el("optgroup");
    choices.label = name;
    for (const key of keys) choices.append(new Option(title(series.get(key).row), key));
    pick.append(choices);
    const of = (sv) => series.get(name + "/" + sv);
    const front = of("FRONTEND"), back = of("BACKEND"), main = front || back || series.get(keys[0]);
    const box = el("article"), head = el("h3"), open = el("button", "", name);
    open.type = "button";
    open.onclick = () => choose(main.key);
    head.append(open, el("small", "", front && back ? "listen" : front ? "frontend" : "backend"));
    const numbers = el("p", "big"), card = { name, keys, box, main, fails: front || back || main, back };
    const tell = (label) => {
      const b = el("b"), span = el("span");
      span.append(b, el("small", "", label));
      numbers.append(span);
      return b;
    };
    card.rate = tell(http(main.row) ? "requests/s" : "sessions/s");
    card.err = tell("errors/s");
    card.open = tell("open");
    card.time = tell(quantiles ? "p99" : "average");
    card.canvas = el("canvas");
    card.canvas.setAttribute("role", "img");
    card.canvas.onclick = () => choose(main.key);
    card.peak = el("small", "peak");
    const drawn = el("div", "spark");
    drawn.append(card.canvas, card.peak);
    card.chips = el("p", "chips");
    card.servers = keys.filter((k) => series.get(k).row.type === "2" || series.get(k).row.type === "3");
    card.state = el("span", "chip");
    head.append(card.state);
    box.append(head, numbers, drawn, card.chips);
    host.append(box);
    cards.push(card);
    watcher.observe(box);
  }
  if (cut) host.append(el("p", "more", cut + " more rows are not drawn: a scope shows fewer proxies"));
  if (!series.has(chosen) && chosen !== "") chosen = "";
  if (!chosen && location.hash !== "#wall") {
    const wanted = decodeURIComponent(location.hash.slice(1));
    chosen = series.has(wanted) ? wanted : order[0] || "";
  }
  choose(chosen);
}

function chipsDraw(card) {
  let list = card.servers.map((k) => series.get(k));
  let rest = 0;
  if (list.length > CHIPS_MAX) {
    // The ones in trouble first, the order of the configuration among equals.
    list = list.map((s, n) => [stateOf(s.row)[3], n, s]).sort((a, b) => b[0] - a[0] || a[1] - b[1]).map(([, , s]) => s);
    rest = list.length - CHIPS_MAX;
    list = list.slice(0, CHIPS_MAX);
  }
  const host = card.chips;
  while (host.children.length > list.length + (rest ? 1 : 0)) host.lastChild.remove();
  list.forEach((s, n) => {
    let chip = host.children[n];
    if (!chip || chip.tagName !== "BUTTON") {
      chip = el("button");
      chip.type = "button";
      host.insertBefore(chip, host.children[n] || null);
    }
    const [, cls, shape] = stateOf(s.row);
    chip.className = "chip " + cls;
    chip.onclick = () => choose(s.key);
    const left = leaving(s.row);
    put(chip, shape + " " + s.row.svname + " " + (s.row.status || "listening") + (left ? ": " + left : ""));
    chip.title = about(s.row);
  });
  if (rest) {
    const more = host.children[list.length] || host.appendChild(el("span"));
    put(more, "and " + rest + " more");
  }
}

function wallDraw() {
  for (const card of cards) {
    if (!visible.has(card.box) || !series.has(card.main.key)) continue;
    mark(card.state, card.main.row);
    put(card.rate, bare(last(card.main, "rate")));
    const err = last(card.fails, "err");
    put(card.err, bare(err));
    card.err.className = err > 0 ? "bad" : "";
    put(card.open, bare(last(card.main, "scur")));
    const time = quantiles ? "ttime_p99_us" : "ttime";
    put(card.time, ms(isNaN(last(card.main, time)) ? last(card.back, time) : last(card.main, time)));
    chipsDraw(card);
    spark(card);
    card.canvas.setAttribute("aria-label", card.name + ": " + card.rate.textContent + " a second");
  }
}

// ------------------------------------------------------------------ the process

const tiles = new Map();
function tile(name, value, of, cls) {
  let t = tiles.get(name);
  if (!t) {
    t = { box: el("div", "tile"), value: el("b"), of: el("small") };
    t.box.append(el("span", "", name), t.value, " ", t.of);
    $("tiles").append(t.box);
    tiles.set(name, t);
  }
  t.box.className = "tile " + (cls || "");
  put(t.value, value);
  put(t.of, of || "");
}

function processDraw() {
  let rate = 0, err = 0, servers = 0, up = 0, down = 0;
  const news = [];
  for (const key of order) {
    const s = series.get(key), row = s.row;
    if (row.svname === "FRONTEND") { rate += last(s, "rate") || 0; err += last(s, "err") || 0; }
    if (row.type !== "2") continue;
    servers++;
    const [, cls, shape, rank] = stateOf(row);
    if (rank === 3) down++;
    if (["up", "none", "go"].includes(cls)) up++;
    if (rank && news.length < 12) news.push([key, cls, `${shape} ${key} ${row.status}`, about(row)]);
  }
  const shards = info.shards || [], load = shards.reduce((n, [l]) => n + l, 0) / Math.max(1, shards.length) / 10;
  tile("requests", bare(rate), "/s");
  tile("errors", bare(err), "/s", err > 0 ? "bad" : "");
  tile("connections", bare(info.conns), "of " + bare(info.maxconn));
  tile("to clients", bits(info.out), "");
  if (servers) tile("servers up", String(up), "of " + servers + (down ? `, ${down} down` : ""), down ? "bad" : "ok");
  const moved = info.copied + info.spliced;
  tile("bytes moved", bytes(moved), moved ? Math.round(100 * info.spliced / moved) + " % spliced" : "");
  tile("load", Math.round(load) + "\u202f%", "of " + shards.length + (shards.length === 1 ? " shard" : " shards"));
  const bars = $("shards") || tiles.get("load").box.appendChild(Object.assign(el("i", "shards"), { id: "shards" }));
  while (bars.children.length < Math.min(64, shards.length)) bars.append(el("i"));
  shards.slice(0, 64).forEach(([l, held], n) => {
    bars.children[n].style.setProperty("--load", l / 10 + "%");
    bars.children[n].title = `shard ${n}: ${l / 10} %, ${held} connections`;
  });
  tile("process " + "up", age(info.up), "pid " + info.pid);
  const host = $("news");
  host.replaceChildren();
  if (info.stopping) {
    const text = "This process is stopping: " + info.conns + " connections left" + (info.oldest >= 0 ? ", the oldest " + age(info.oldest / 1000) : "");
    host.append(el("p", "chip maint", text));
  }
  for (const [key, cls, text, more] of news) {
    const b = el("button", "chip " + cls, text + (more ? " · " + more : ""));
    b.type = "button";
    b.onclick = () => choose(key);
    host.append(b);
  }
}

// ------------------------------------------------------------------ asking

let lostSince = 0, why = "", tries = 0;

function stateDraw() {
  const state = $("state");
  document.body.classList.toggle("old", !!lostSince);
  if (lostSince) {
    state.className = "lost";
    const s = (Date.now() - lostSince) / 1000;
    put(state, `▼ not reachable since ${clock(lostSince)} (${age(s)}): ${why}. What you see is of then; still asking.`);
  } else if (info) {
    state.className = info.stopping ? "lost" : "live";
    put(state, (info.stopping ? "■ stopping" : "● live") + ", " + clock(Date.now()));
  }
}

async function ask() {
  const begun = performance.now();
  const stop = new AbortController(), timer = setTimeout(() => stop.abort(), PATIENCE);
  let wait = PERIOD;
  try {
    const answer = await fetch(source, { signal: stop.signal, cache: "no-store", credentials: "same-origin" });
    if (!answer.ok) throw Error("it answers " + answer.status);
    const got = parse(await answer.text());
    const changed = take(got, performance.now());
    lostSince = tries = 0;
    if (changed) wallBuild();
    draw();
  } catch (e) {
    if (!lostSince) { lostSince = Date.now(); gap(); }
    why = e.name === "AbortError" ? "no answer" : e.name === "TypeError" ? "no connection" : e.message;
    // Asks less often while nobody answers, so that it is no burden when somebody does.
    wait = Math.min(PERIOD * 2 ** Math.min(tries++, 3), PATIENCE);
  }
  clearTimeout(timer);
  stateDraw();
  setTimeout(ask, Math.max(100, wait - (performance.now() - begun)));
}

function draw() {
  if (!info) return;
  processDraw();
  focusDraw();
  wallDraw();
}

// ------------------------------------------------------------------ looks

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const THEMES = { auto: "◐ auto", light: "○ light", dark: "● dark" };
function theme(name) {
  document.documentElement.dataset.theme = name === "auto" ? prefersDark.matches ? "dark" : "light" : name;
  $("theme").textContent = THEMES[name];
  $("theme").dataset.now = name;
  try { localStorage.setItem("ringway-theme", name); } catch { /* private browsing: not kept */ }
  readPalette();
  draw();
}
let kept = "auto";
try { kept = localStorage.getItem("ringway-theme") || "auto"; } catch { /* as above */ }
$("theme").onclick = () => theme({ auto: "light", light: "dark", dark: "auto" }[$("theme").dataset.now]);
$("pick").onchange = () => choose($("pick").value);
$("span").onchange = draw;
addEventListener("resize", draw);
addEventListener("hashchange", () => {
  const key = decodeURIComponent(location.hash.slice(1));
  if (series.has(key)) choose(key);
});
prefersDark.addEventListener("change", () => theme($("theme").dataset.now));
setInterval(() => { if (lostSince) stateDraw(); }, PERIOD);
theme(kept in THEMES ? kept : "auto");
ask();
