//! Digests, message authentication and AES-GCM, on the crates of RustCrypto; signatures of tokens by a shared secret.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::{U8, U12, U16};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AesGcm, KeyInit as _, Nonce, Tag};
use hmac::{Mac, SimpleHmac};
use sha1::Digest;

use super::Eval;
use super::args::{Args, Data};
use super::codec::{from_base64url, to_base64_padded};
use crate::lang::expr::Fault;
use crate::lang::sample::{Arena, Value};
use crate::lang::subject::VarId;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Digest(Algorithm),
    Hmac(Algorithm, Data),
    SecureMemcmp(VarId),
    GcmDec(Gcm, Data),
    /// The tag goes to a variable.
    GcmEnc(Gcm, VarId),
    JwtVerify(Signed, Data),
}

/// Hash functions by OpenSSL's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512By224,
    Sha512By256,
    Sha3By224,
    Sha3By256,
    Sha3By384,
    Sha3By512,
}

/// What decides an encryption but the tag.
#[derive(Clone, Debug)]
pub(super) struct Gcm {
    key_bits: KeyBits,
    nonce: Data,
    key: Data,
    /// What is authenticated without being encrypted.
    associated: Option<Data>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyBits {
    K128,
    K192,
    K256,
}

/// How a token is signed: not at all, or by a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    Not,
    Hmac(Algorithm),
}

impl Op {
    pub(super) fn apply<'a>(&'a self, input: &'a [u8], eval: Eval<'a>) -> Option<Value<'a>> {
        let arena = eval.arena;
        Some(match self {
            Self::Digest(algorithm) => Value::Bin(algorithm.digest(input, arena)),
            Self::Hmac(algorithm, key) => {
                Value::Bin(algorithm.hmac(key.decoded(eval)?, input, arena))
            }
            Self::SecureMemcmp(var) => {
                let other = eval.subject.var(*var)?.binary(arena);
                Value::Bool(equal(input, other))
            }
            Self::GcmDec(gcm, tag) => Value::Bin(gcm.open(input, tag.decoded(eval)?, eval)?),
            Self::GcmEnc(gcm, var) => {
                let (sealed, tag) = gcm.seal(input, eval)?;
                let tag = to_base64_padded(&tag, arena);
                eval.subject.set_var(*var, Some(Value::Str(tag)));
                Value::Bin(sealed)
            }
            Self::JwtVerify(algorithm, key) => Value::Int(verified(input, *algorithm, key, eval)?),
        })
    }
}

/// Compares in a time that depends on the lengths only.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

/// Runs `$body` with `$hash` standing for the type of the algorithm.
macro_rules! with_hash {
    ($algorithm:expr, $hash:ident => $body:expr) => {
        with_hash!(@ $algorithm, $hash => $body;
            Md5 md5::Md5, Sha1 sha1::Sha1, Sha224 sha2::Sha224, Sha256 sha2::Sha256, Sha384 sha2::Sha384,
            Sha512 sha2::Sha512, Sha512By224 sha2::Sha512_224, Sha512By256 sha2::Sha512_256,
            Sha3By224 sha3::Sha3_224, Sha3By256 sha3::Sha3_256, Sha3By384 sha3::Sha3_384, Sha3By512 sha3::Sha3_512)
    };
    (@ $algorithm:expr, $hash:ident => $body:expr; $($name:ident $type:ty),*) => {
        match $algorithm {
            $(Algorithm::$name => {
                type $hash = $type;
                $body
            })*
        }
    };
}

impl Algorithm {
    /// By a name of OpenSSL, in letters of any case.
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "md5" | "ssl3-md5" | "rsa-md5" => Self::Md5,
            "sha1" | "sha-1" | "ssl3-sha1" | "rsa-sha1" => Self::Sha1,
            "sha224" | "sha2-224" | "rsa-sha224" => Self::Sha224,
            "sha256" | "sha2-256" | "rsa-sha256" => Self::Sha256,
            "sha384" | "sha2-384" | "rsa-sha384" => Self::Sha384,
            "sha512" | "sha2-512" | "rsa-sha512" => Self::Sha512,
            "sha512-224" | "sha2-512/224" | "rsa-sha512/224" => Self::Sha512By224,
            "sha512-256" | "sha2-512/256" | "rsa-sha512/256" => Self::Sha512By256,
            "sha3-224" => Self::Sha3By224,
            "sha3-256" => Self::Sha3By256,
            "sha3-384" => Self::Sha3By384,
            "sha3-512" => Self::Sha3By512,
            _ => return None,
        })
    }

    fn digest<'a>(self, input: &[u8], arena: &'a Arena) -> &'a [u8] {
        with_hash!(self, Hash => arena.alloc_slice_copy(&Hash::digest(input)))
    }

    fn hmac<'a>(self, key: &[u8], input: &[u8], arena: &'a Arena) -> &'a [u8] {
        with_hash!(self, Hash => {
            let mut mac = SimpleHmac::<Hash>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.update(input);
            arena.alloc_slice_copy(&mac.finalize().into_bytes())
        })
    }
}

/// Names that OpenSSL knows and that are not done here.
const OTHER_DIGESTS: &[&str] = &[
    "blake2b512",
    "blake2s256",
    "md4",
    "md5-sha1",
    "ripemd160",
    "ripemd",
    "rmd160",
    "shake128",
    "shake256",
    "sm3",
    "whirlpool",
];

impl Gcm {
    /// The plain bytes; `None` where the tag does not belong to them, or a length is wrong.
    fn open<'a>(&'a self, input: &[u8], tag: &[u8], eval: Eval<'a>) -> Option<&'a [u8]> {
        let buffer = eval.arena.alloc_slice_copy(input);
        let tag = Tag::try_from(tag).ok()?;
        self.run(eval, buffer, Some(tag))?;
        Some(buffer)
    }

    fn seal<'a>(&'a self, input: &[u8], eval: Eval<'a>) -> Option<(&'a [u8], Tag)> {
        let buffer = eval.arena.alloc_slice_copy(input);
        let tag = self.run(eval, buffer, None)?;
        Some((buffer, tag))
    }

    /// Decrypts with a tag to compare, encrypts without. Nonces have 12 bytes, or 8 or 16.
    fn run(&self, eval: Eval<'_>, buffer: &mut [u8], tag: Option<Tag>) -> Option<Tag> {
        let (key, nonce) = (self.key.decoded(eval)?, self.nonce.decoded(eval)?);
        let associated = match &self.associated {
            Some(data) => data.decoded(eval)?,
            None => &[],
        };
        macro_rules! with_sizes {
            ($($bits:ident $aes:ty, $len:literal $nonce:ty);*) => {
                match (self.key_bits, nonce.len()) {
                    $((KeyBits::$bits, $len) => {
                        let cipher = AesGcm::<$aes, $nonce>::new_from_slice(key).ok()?;
                        let nonce = Nonce::<$nonce>::try_from(nonce).ok()?;
                        match tag {
                            Some(tag) => {
                                cipher
                                    .decrypt_inout_detached(&nonce, associated, buffer.into(), &tag)
                                    .ok()?;
                                Some(tag)
                            }
                            None => cipher
                                .encrypt_inout_detached(&nonce, associated, buffer.into())
                                .ok(),
                        }
                    })*
                    _ => None,
                }
            };
        }
        with_sizes!(
            K128 Aes128, 12 U12; K192 Aes192, 12 U12; K256 Aes256, 12 U12;
            K128 Aes128, 16 U16; K192 Aes192, 16 U16; K256 Aes256, 16 U16;
            K128 Aes128, 8 U8; K192 Aes192, 8 U8; K256 Aes256, 8 U8
        )
    }
}

impl Signed {
    /// By a name of RFC 7518, 3.1.
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"none" => Self::Not,
            b"HS256" => Self::Hmac(Algorithm::Sha256),
            b"HS384" => Self::Hmac(Algorithm::Sha384),
            b"HS512" => Self::Hmac(Algorithm::Sha512),
            _ => return None,
        })
    }
}

/// 1 and 0 say whether the signature is right, -3 that this is no token.
fn verified(token: &[u8], signed: Signed, key: &Data, eval: Eval<'_>) -> Option<i64> {
    let key = key.text(eval)?;
    let Some((body, signature)) = token_parts(token) else {
        return Some(-3);
    };
    let Signed::Hmac(hash) = signed else {
        return Some(signature.is_empty().into());
    };
    Some(match from_base64url(signature, eval.arena) {
        Some(signature) if !signature.is_empty() => {
            equal(hash.hmac(key, body, eval.arena), signature).into()
        }
        _ => -3,
    })
}

/// What is signed, and the signature: three parts between dots.
fn token_parts(token: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = memchr::memrchr(b'.', token)?;
    let (body, signature) = (&token[..dot], &token[dot + 1..]);
    let dots = memchr::memchr_iter(b'.', body).count();
    (dots == 1).then_some((body, signature))
}

fn op(op: Op) -> Result<super::Op, Fault> {
    Ok(super::Op::Cipher(op))
}

pub(super) fn make_sha1(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::Digest(Algorithm::Sha1))
}

pub(super) fn make_sha2(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let bits = args.int(0);
    let algorithm = match bits {
        224 => Algorithm::Sha224,
        256 => Algorithm::Sha256,
        384 => Algorithm::Sha384,
        512 => Algorithm::Sha512,
        0 if args.text(0).is_empty() => Algorithm::Sha256,
        _ => return Err(args.wrong(0, format!("Unsupported number of bits: '{bits}'"))),
    };
    op(Op::Digest(algorithm))
}

fn algorithm(args: &Args<'_, '_>) -> Result<Algorithm, Fault> {
    let name = args.lossy(0);
    if OTHER_DIGESTS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(args.later(format!("{}({name})", args.entry.name)));
    }
    let text = "algorithm must be a valid OpenSSL message digest name.";
    Algorithm::named(&name).ok_or_else(|| args.wrong(0, text))
}

pub(super) fn digest(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::Digest(algorithm(args)?))
}

pub(super) fn make_hmac(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let algorithm = algorithm(args)?;
    op(Op::Hmac(algorithm, args.base64(1, "key")?))
}

pub(super) fn secure_memcmp(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::SecureMemcmp(args.var_to_read(0)?))
}

fn gcm(args: &mut Args<'_, '_>) -> Result<Gcm, Fault> {
    let key_bits = match args.int(0) {
        128 => KeyBits::K128,
        192 => KeyBits::K192,
        256 => KeyBits::K256,
        _ => return Err(args.wrong(0, "key size must be 128, 192 or 256 (bits).")),
    };
    Ok(Gcm {
        key_bits,
        nonce: args.base64(1, "nonce")?,
        key: args.base64(2, "key")?,
        associated: args.has(4).then(|| args.base64(4, "aad")).transpose()?,
    })
}

pub(super) fn aes_gcm_dec(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let gcm = gcm(args)?;
    op(Op::GcmDec(gcm, args.base64(3, "aead_tag")?))
}

pub(super) fn aes_gcm_enc(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let gcm = gcm(args)?;
    op(Op::GcmEnc(gcm, args.var_to_read(3)?))
}

/// Only with a shared secret. What names a certificate, or may, since the algorithm is in a variable, is of a later
/// version: accepting it would turn every token down.
pub(super) fn jwt_verify(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let name = args.lossy(0);
    let signed = match (Signed::named(args.text(0)), args.text(0)) {
        (Some(signed), _) => signed,
        (None, b"RS256" | b"RS384" | b"RS512" | b"ES256" | b"ES384" | b"ES512") => {
            return Err(args.later(format!("jwt_verify({name})")));
        }
        (None, b"PS256" | b"PS384" | b"PS512") => {
            return Err(args.wrong(0, "RSASSA-PSS JWS signing not managed yet"));
        }
        _ if args.var(0).is_some() => {
            return Err(args.later("jwt_verify with the algorithm in a variable"));
        }
        _ => return Err(args.wrong(0, format!("unknown JWT algorithm: {name}"))),
    };
    op(Op::JwtVerify(signed, args.data(1)))
}
