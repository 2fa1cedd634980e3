//! Who asks, and what they may do.
//!
//! Two ways in: an API key (an opaque text that we made, kept only as its hash) with the role operator, service or
//! auditor; or a shopper's JSON Web Token made by the shop (HS256 with a shared secret, or a public key from a JWK set),
//! which can act for its own member only.

use crate::problem::Problem;
use arc_swap::ArcSwap;
use banyan_domain::{Actor, MemberId, SegmentName, limits};
use http::{HeaderMap, header};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything: campaigns, coupons of any member, revoking, stock, reading.
    Operator,
    /// Coupons of any member, stock, and reading: the shop's own servers.
    Service,
    /// Reading only.
    Auditor,
    /// Coupons and reservations of one member.
    Shopper,
}

/// Somebody who has shown who they are.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The name under which idempotency keys are kept and operator actions are written down.
    pub name: Actor,
    /// The role.
    pub role: Role,
    /// The only member they act for, if they are a shopper.
    pub member: Option<MemberId>,
    /// Segments that their token vouches for.
    pub segments: Box<[SegmentName]>,
}

/// One API key, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Its name: who uses it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// BLAKE3 of the key, in hexadecimal. Keys have 160 random bits, so a fast hash is enough.
    pub hash: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
}

/// How shoppers' tokens are checked.
#[derive(Clone, Default)]
pub struct TokenOptions {
    /// The shared secret of HS256 tokens; at least 32 bytes.
    pub hs256_secret: Option<Vec<u8>>,
    /// Public keys, as a JWK set (RFC 7517).
    pub jwks: Option<JwkSet>,
    /// The audience a token must name, if any.
    pub audience: Option<String>,
    /// The issuer a token must name, if any.
    pub issuer: Option<String>,
}

/// Everything needed to know somebody.
pub struct Keyring {
    keys: ArcSwap<BTreeMap<[u8; 32], Arc<Principal>>>,
    tokens: TokenOptions,
}

/// The claims of a shopper's token that matter here.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    segments: Vec<String>,
}

/// Why a list of keys cannot be used.
#[derive(Debug)]
pub struct InvalidKeys(String);

impl Keyring {
    /// A keyring of `records`.
    ///
    /// # Errors
    /// [`InvalidKeys`] naming the first record that cannot be used.
    pub fn new(records: &[KeyRecord], tokens: TokenOptions) -> Result<Self, InvalidKeys> {
        if tokens.hs256_secret.as_ref().is_some_and(|secret| secret.len() < 32) {
            return Err(InvalidKeys("the HS256 secret must have at least 32 bytes".into()));
        }
        Ok(Self { keys: ArcSwap::from_pointee(index(records)?), tokens })
    }

    /// Takes `records` in place of those before.
    ///
    /// # Errors
    /// [`InvalidKeys`]; the keys before stay in force.
    pub fn replace(&self, records: &[KeyRecord]) -> Result<(), InvalidKeys> {
        self.keys.store(Arc::new(index(records)?));
        Ok(())
    }

    /// Who sent `headers`.
    ///
    /// # Errors
    /// A 401 [`Problem`] that says what is missing or wrong.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Problem> {
        let header = headers.get(header::AUTHORIZATION).ok_or_else(|| {
            Problem::unauthenticated(
                "Send a key as `Authorization: Bearer KEY`. Make one with `banyan key create`.",
            )
        })?;
        let bytes = header.as_bytes();
        let token = match bytes.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => token.trim_ascii(),
            _ => return Err(Problem::unauthenticated("The Authorization header must be `Bearer KEY`.")),
        };
        self.identify_token(token)
    }

    /// Who holds `token`: an API key or a shopper's token.
    ///
    /// # Errors
    /// A 401 [`Problem`].
    pub fn identify_token(&self, token: &[u8]) -> Result<Arc<Principal>, Problem> {
        // The lookup is by hash: its timing says nothing about the key.
        if let Some(principal) = self.keys.load().get(blake3::hash(token).as_bytes()) {
            return Ok(principal.clone());
        }
        if token.iter().filter(|b| **b == b'.').count() == 2 {
            return self.shopper(token).map(Arc::new);
        }
        Err(Problem::unauthenticated("The key is not known here, or was removed."))
    }

    /// The holder of the API key whose BLAKE3 is `hash`, as long as the key is in force: for whoever remembers a key
    /// beyond one request without keeping the key itself.
    #[must_use]
    pub fn holder(&self, hash: &[u8; 32]) -> Option<Arc<Principal>> {
        self.keys.load().get(hash).cloned()
    }

    fn shopper(&self, token: &[u8]) -> Result<Principal, Problem> {
        let refuse = |why: &str| Problem::unauthenticated(format!("The token cannot be used: {why}."));
        let header = jsonwebtoken::decode_header(token).map_err(|_| refuse("it is not a JSON Web Token"))?;
        let (key, algorithm) = self.key_for(&header).ok_or_else(|| {
            refuse("no key here fits its algorithm and key id; see --jwt-hs256-secret and --jwks in `banyan up --help`")
        })?;
        let mut validation = Validation::new(algorithm);
        // A claim that is checked must be there as well: the library passes over one that is missing.
        let mut required = vec!["exp", "sub"];
        required.extend(self.tokens.audience.as_ref().map(|_| "aud"));
        required.extend(self.tokens.issuer.as_ref().map(|_| "iss"));
        validation.set_required_spec_claims(&required);
        validation.validate_nbf = true;
        match &self.tokens.audience {
            Some(audience) => validation.set_audience(&[audience]),
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &self.tokens.issuer {
            validation.set_issuer(&[issuer]);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|error| refuse(&error.to_string()))?
            .claims;
        let member =
            MemberId::new(claims.sub).map_err(|error| refuse(&format!("its sub is no member: {error}")))?;
        if claims.segments.len() > limits::SEGMENTS_PER_REQUEST_MAX {
            return Err(refuse("it names too many segments"));
        }
        let segments = claims.segments.into_iter().map(SegmentName::new).collect::<Result<_, _>>();
        Ok(Principal {
            name: Actor::new("shopper").map_err(|error| refuse(&error.to_string()))?,
            role: Role::Shopper,
            member: Some(member),
            segments: segments.map_err(|error| refuse(&error.to_string()))?,
        })
    }

    /// The key for a token, chosen by us: never an algorithm that the token merely claims for a key of another kind.
    fn key_for(&self, header: &jsonwebtoken::Header) -> Option<(DecodingKey, Algorithm)> {
        if header.alg == Algorithm::HS256 {
            let secret = self.tokens.hs256_secret.as_ref()?;
            return Some((DecodingKey::from_secret(secret), Algorithm::HS256));
        }
        let jwk = self.tokens.jwks.as_ref()?.find(header.kid.as_deref()?)?;
        let named: Option<Algorithm> = jwk.common.key_algorithm.and_then(|alg| alg.to_string().parse().ok());
        let asymmetric = !matches!(header.alg, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        if !asymmetric || named.is_some_and(|named| named != header.alg) {
            return None;
        }
        Some((DecodingKey::from_jwk(jwk).ok()?, header.alg))
    }
}

impl Principal {
    /// Refuses unless they may change campaigns.
    ///
    /// # Errors
    /// A 403 [`Problem`].
    pub fn must_operate(&self) -> Result<(), Problem> {
        if self.role == Role::Operator {
            return Ok(());
        }
        Err(Problem::forbidden(
            "Only an operator key may do this. Make one with `banyan key create --role operator`.",
        ))
    }

    /// Refuses unless they are the shop itself, an operator or one of its servers: what moves money or goods for good is never
    /// a shopper's to ask.
    ///
    /// # Errors
    /// A 403 [`Problem`].
    pub fn must_serve(&self) -> Result<(), Problem> {
        match self.role {
            Role::Operator | Role::Service => Ok(()),
            Role::Auditor => Err(Problem::forbidden("An auditor key reads only.")),
            Role::Shopper => Err(Problem::forbidden(
                "Only an operator or service key may do this. Make one with `banyan key create --role service`.",
            )),
        }
    }

    /// Refuses unless they may read what concerns all members.
    ///
    /// # Errors
    /// A 403 [`Problem`].
    pub fn must_read_all(&self) -> Result<(), Problem> {
        if self.role != Role::Shopper {
            return Ok(());
        }
        Err(Problem::forbidden("A shopper's token reads only what is its own."))
    }

    /// Refuses unless they may change coupons of `member`, or of any member if none is named.
    ///
    /// # Errors
    /// A 403 [`Problem`].
    pub fn must_act_for(&self, member: Option<&MemberId>) -> Result<(), Problem> {
        match (self.role, &self.member) {
            (Role::Operator | Role::Service, _) => Ok(()),
            (Role::Shopper, Some(own)) if member.is_none_or(|member| member == own) => Ok(()),
            (Role::Shopper, _) => Err(Problem::forbidden("A shopper's token acts only for its own member.")),
            (Role::Auditor, _) => Err(Problem::forbidden("An auditor key reads only.")),
        }
    }

    /// The name under which this caller's idempotency keys are kept apart from others'.
    #[must_use]
    pub fn key_scope(&self) -> String {
        match &self.member {
            Some(member) => format!("shopper {member}"),
            None => format!("key {}", self.name),
        }
    }
}

impl KeyRecord {
    /// Makes a key: its record to keep, and the key itself, which is shown once.
    ///
    /// # Errors
    /// If the operating system gives no randomness, or `name` is not visible ASCII.
    pub fn create(name: &str, role: Role, created_at: String) -> Result<(Self, String), InvalidKeys> {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| InvalidKeys(format!("making a key: {error}")))?;
        let text: String = random.iter().map(|b| char::from(LETTERS[usize::from(b % 32)])).collect();
        let key = format!("banyan_{role}_{text}");
        let hash = blake3::hash(key.as_bytes()).to_hex().to_string();
        Actor::new(name).map_err(|error| InvalidKeys(format!("key name: {error}")))?;
        Ok((Self { name: name.into(), role, hash, created_at }, key))
    }
}

fn index(records: &[KeyRecord]) -> Result<BTreeMap<[u8; 32], Arc<Principal>>, InvalidKeys> {
    let mut keys = BTreeMap::new();
    for record in records {
        let fault = |why: String| InvalidKeys(format!("key {:?}: {why}", record.name));
        let hash = blake3::Hash::from_hex(&record.hash).map_err(|error| fault(error.to_string()))?;
        let name = Actor::new(record.name.as_str()).map_err(|error| fault(error.to_string()))?;
        if record.role == Role::Shopper {
            return Err(fault("a shopper acts with a token, not with a key".into()));
        }
        let principal = Principal { name, role: record.role, member: None, segments: Box::default() };
        keys.insert(*hash.as_bytes(), Arc::new(principal));
    }
    Ok(keys)
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "operator",
            Self::Service => "service",
            Self::Auditor => "auditor",
            Self::Shopper => "shopper",
        })
    }
}

impl fmt::Display for InvalidKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidKeys {}
