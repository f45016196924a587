//! The converters by name: types, arguments and what makes them; and the names of those that are of a later version.

use super::args::{ArgKind, Args};
use super::{
    Op, address, cipher, codec, fix, forwarded, hash, json, mqtt, number, protobuf, state, text,
    time,
};
use crate::lang::expr::Fault;
use crate::lang::sample::Kind;

/// One converter.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) input: Kind,
    pub(super) output: Kind,
    pub(super) args: &'static [ArgKind],
    /// How many of the arguments must be there.
    pub(super) min: usize,
    pub(super) make: fn(&mut Args<'_, '_>) -> Result<Op, Fault>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const S: ArgKind = ArgKind::Str;
const I: ArgKind = ArgKind::Int;

macro_rules! table {
    ($($name:literal $input:ident $output:ident $min:literal [$($arg:expr),*] $make:path;)*) => {
        pub(super) static TABLE: &[Entry] = &[$(Entry {
            name: $name,
            input: Kind::$input,
            output: Kind::$output,
            args: &[$($arg),*],
            min: $min,
            make: $make,
        }),*];
    };
}

// In order of names. The types are those that haproxy lists (`haproxy -dKcnv`).
table! {
    "add" Int Int 1 [S] number::add;
    "add_item" Str Str 2 [S, S, S] text::add_item;
    "aes_gcm_dec" Bin Bin 4 [I, S, S, S, S] cipher::aes_gcm_dec;
    "aes_gcm_enc" Bin Bin 4 [I, S, S, S, S] cipher::aes_gcm_enc;
    "and" Int Int 1 [S] number::and;
    "b64dec" Str Bin 0 [] codec::b64dec;
    "base2" Bin Str 0 [] codec::base2;
    "base64" Bin Str 0 [] codec::base64;
    "be2dec" Bin Str 1 [S, I, I] codec::be2dec;
    "be2hex" Bin Str 1 [S, I, I] codec::be2hex;
    "bool" Int Bool 0 [] number::boolean;
    "bytes" Bin Bin 1 [ArgKind::IntOrVar, ArgKind::IntOrVar] text::make_bytes;
    "capture-req" Str Str 1 [I] state::capture_req;
    "capture-res" Str Str 1 [I] state::capture_res;
    "concat" Str Str 1 [S, S, S] text::concat;
    "cpl" Int Int 0 [] number::cpl;
    "crc32" Bin Int 0 [I] hash::crc32;
    "crc32c" Bin Int 0 [I] hash::crc32c;
    "cut_crlf" Str Str 0 [] text::cut_crlf;
    "digest" Bin Bin 1 [S] cipher::digest;
    "div" Int Int 1 [S] number::div;
    "djb2" Bin Int 0 [I] hash::djb2;
    "even" Int Bool 0 [] number::even;
    "fe_exists" Str Bool 0 [] state::fe_exists;
    "field" Str Str 2 [I, S, I] text::field;
    "fix_is_valid" Bin Bool 0 [] fix::fix_is_valid;
    "fix_tag_value" Bin Bin 1 [S] fix::fix_tag_value;
    "hex" Bin Str 0 [] codec::make_hex;
    "hex2i" Str Int 0 [] codec::hex2i;
    "hmac" Bin Bin 2 [S, S] cipher::make_hmac;
    "host_only" Str Str 0 [] address::host_only;
    "htonl" Int Bin 0 [] codec::htonl;
    "http_date" Int Str 0 [I, S] time::make_http_date;
    "iif" Bool Str 2 [S, S] text::iif;
    "ipmask" Addr Addr 1 [ArgKind::Mask4, ArgKind::Mask6] address::ipmask;
    "json" Str Str 1 [S] codec::json;
    "json_query" Str Any 1 [S, S] json::json_query;
    "jwt_header_query" Bin Any 0 [S, S] json::jwt_header_query;
    "jwt_payload_query" Bin Any 0 [S, S] json::jwt_payload_query;
    "jwt_verify" Bin Int 2 [S, S] cipher::jwt_verify;
    "language" Str Str 1 [S, S] text::language;
    "le2dec" Bin Str 1 [S, I, I] codec::le2dec;
    "length" Str Int 0 [] text::length;
    "lower" Str Str 0 [] text::lower;
    "ltime" Int Str 1 [S, I] time::ltime;
    "ltrim" Str Str 1 [S] text::ltrim;
    "mod" Int Int 1 [S] number::modulo;
    "mqtt_field_value" Bin Str 2 [S, S] mqtt::field_value;
    "mqtt_is_valid" Bin Bool 0 [] mqtt::is_valid;
    "ms_ltime" Int Str 1 [S, I] time::ms_ltime;
    "ms_utime" Int Str 1 [S, I] time::ms_utime;
    "mul" Int Int 1 [S] number::mul;
    "nbsrv" Str Int 0 [] state::nbsrv;
    "neg" Int Int 0 [] number::neg;
    "not" Int Bool 0 [] number::not;
    "odd" Int Bool 0 [] number::odd;
    "or" Int Int 1 [S] number::or;
    "param" Str Str 1 [S, S] text::make_param;
    "port_only" Str Int 0 [] address::port_only;
    "protobuf" Bin Any 1 [ArgKind::Field, S] protobuf::protobuf;
    "regsub" Str Str 2 [ArgKind::Regex, S, S] text::regsub;
    "reverse_dom" Str Str 0 [] text::reverse_dom;
    "rfc7239_field" Str Str 1 [S] forwarded::field;
    "rfc7239_is_valid" Str Bool 0 [] forwarded::is_valid;
    "rfc7239_n2nn" Str Any 0 [] forwarded::node_name;
    "rfc7239_n2np" Str Any 0 [] forwarded::node_port;
    "rtrim" Str Str 1 [S] text::rtrim;
    "sdbm" Bin Int 0 [I] hash::sdbm;
    "secure_memcmp" Bin Bool 1 [S] cipher::secure_memcmp;
    "set-var" Any Any 1 [S, S, S, S, S] state::set_var;
    "sha1" Bin Bin 0 [] cipher::make_sha1;
    "sha2" Bin Bin 0 [I] cipher::make_sha2;
    "srv_is_up" Str Bool 0 [] state::srv_is_up;
    "srv_queue" Str Int 0 [] state::srv_queue;
    "strcmp" Str Int 1 [S] text::strcmp;
    "sub" Int Int 1 [S] number::sub;
    "ub64dec" Str Bin 0 [] codec::ub64dec;
    "ub64enc" Bin Str 0 [] codec::ub64enc;
    "ungrpc" Bin Any 1 [ArgKind::Field, S] protobuf::ungrpc;
    "unset-var" Any Any 1 [S] state::unset_var;
    "upper" Str Str 0 [] text::upper;
    "url_dec" Str Str 0 [I] codec::url_dec;
    "url_enc" Str Str 1 [S] codec::url_enc;
    "us_ltime" Int Str 1 [S, I] time::us_ltime;
    "us_utime" Int Str 1 [S, I] time::us_utime;
    "utime" Int Str 1 [S, I] time::utime;
    "when" Any Any 1 [S, S] state::when;
    "word" Str Str 2 [I, S, I] text::word;
    "wt6" Bin Int 0 [I] hash::wt6;
    "xor" Int Int 1 [S] number::xor;
    "xxh3" Bin Int 0 [I] hash::xxh3;
    "xxh32" Bin Int 0 [I] hash::xxh32;
    "xxh64" Bin Int 0 [I] hash::xxh64;
}

/// Names that haproxy 3.4 has beyond the table, and beginnings of names for whole families.
const LATER: &[&str] = &[
    "51d.single",
    "aes_cbc_dec",
    "aes_cbc_enc",
    "da-csv-conv",
    "debug",
    "in_table",
    "jwt_verify_cert",
    "map",
    "x509_v_err_str",
];
const LATER_FAMILIES: &[&str] = &[
    "eth.",
    "ip.",
    "jwt_decrypt_",
    "lua.",
    "map_",
    "table_",
    "tcp.",
    "wurfl",
];

pub(super) fn entry(name: &str) -> Option<&'static Entry> {
    let at = TABLE.binary_search_by(|entry| entry.name.cmp(name)).ok()?;
    Some(&TABLE[at])
}

pub(super) fn is_later(name: &str) -> bool {
    LATER.contains(&name) || LATER_FAMILIES.iter().any(|family| name.starts_with(family))
}
