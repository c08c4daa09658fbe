//! How records lie in Redis, and the scripts that change them. A script runs alone, so each is atomic.
//!
//! A partition is one hash; a record is one field of it: a format byte, 15 digits of the time of death in milliseconds
//! since 1970, 16 random bytes of version, then the value. Names are SHA-256 hashes. The hash itself dies with its last
//! record.

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;

use crate::{Key, Partition, Record, StoreErrorKind, Version};

pub(super) const VERSION_LEN: usize = 16;
const FORMAT: u8 = b'1';
const DIES_LEN: usize = 15;
const HEAD_LEN: usize = 1 + DIES_LEN + VERSION_LEN;

/// `KEYS[1]` partition, `ARGV[1]` name. The record, or nil.
pub(super) const GET: &str = "\
local t = redis.call('TIME')
local record = redis.call('HGET', KEYS[1], ARGV[1])
if not record then return false end
local dies = tonumber(string.sub(record, 2, 16))
if dies and dies <= t[1] * 1000 + math.floor(t[2] / 1000) then return false end
return record
";

/// `KEYS[1]` partition, `ARGV`: name, condition (`*`, `-` or the version it must have), milliseconds to live, new
/// version, value. 1 when written, 0 when the condition does not hold. Each write looks at three records of the
/// partition and drops the dead ones, so that at most about a third of a busy partition is dead.
pub(super) const PUT: &str = "\
local key, name, when = KEYS[1], ARGV[1], ARGV[2]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function dead(record)
  local dies = record and tonumber(string.sub(record, 2, 16))
  return dies and dies <= now
end
local old = redis.call('HGET', key, name)
if dead(old) then old = false end
if when == '-' then
  if old then return 0 end
elseif when ~= '*' then
  if not old or string.sub(old, 17, 32) ~= when then return 0 end
end
local dies = now + tonumber(ARGV[3])
redis.call('HSET', key, name, '1' .. string.format('%015.0f', dies) .. ARGV[4] .. ARGV[5])
if redis.call('PEXPIRETIME', key) < dies then redis.call('PEXPIREAT', key, string.format('%.0f', dies)) end
for _, other in ipairs(redis.call('HRANDFIELD', key, 3)) do
  if other ~= name and dead(redis.call('HGET', key, other)) then redis.call('HDEL', key, other) end
end
return 1
";

/// `KEYS[1]` partition, `ARGV`: name, condition as in [`PUT`]. 1 when a living record was removed.
pub(super) const REMOVE: &str = "\
local t = redis.call('TIME')
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old then return 0 end
local dies = tonumber(string.sub(old, 2, 16))
if dies and dies <= t[1] * 1000 + math.floor(t[2] / 1000) then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 0
end
if ARGV[2] ~= '*' and string.sub(old, 17, 32) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
";

/// The name of a partition's hash: nothing in it can be read, and two applications never share one.
pub(super) fn partition_name(application: &str, partition: &Partition) -> String {
    let namespace = partition.namespace();
    let precious = if namespace.is_precious() { "precious" } else { "rebuildable" };
    format!("ea1:{}", URL_SAFE_NO_PAD.encode(hash(&[application, precious, namespace.name(), partition.id()])))
}

/// The name of a record within its hash.
pub(super) fn field_name(key: &Key) -> Vec<u8> {
    hash(&[key.name()])
}

/// Reads a field. The value shares its memory.
pub(super) fn decode(field: &Bytes) -> Result<Record, StoreErrorKind> {
    let head = field.get(..HEAD_LEN).ok_or(StoreErrorKind::Corrupt)?;
    let digits = head.get(1..=DIES_LEN).ok_or(StoreErrorKind::Corrupt)?;
    if head.first() != Some(&FORMAT) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(StoreErrorKind::Corrupt);
    }
    let version = Version::new(field.slice(1 + DIES_LEN..HEAD_LEN));
    Ok(Record { value: field.slice(HEAD_LEN..), version })
}

/// Every part goes in with its length in front, so that parts cannot run into each other.
fn hash(parts: &[&str]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Namespace;

    #[test]
    fn fields_of_other_formats_are_corrupt() {
        let good = [&b"1000001800000000"[..], &[7; 16], b"value"].concat();
        let record = decode(&good.clone().into()).unwrap();
        assert_eq!((&record.value[..], record.version.as_bytes()), (&b"value"[..], &[7_u8; 16][..]));
        for length in 0..HEAD_LEN {
            assert_eq!(decode(&good[..length].to_vec().into()), Err(StoreErrorKind::Corrupt));
        }
        for (at, byte) in [(0, b'2'), (0, b'{'), (1, b' '), (15, b'x')] {
            let mut changed = good.clone();
            changed[at] = byte;
            assert_eq!(decode(&changed.into()), Err(StoreErrorKind::Corrupt));
        }
    }

    #[test]
    fn names_hide_ids_and_differ() {
        let partition = |namespace: Namespace, parts: &[&str]| namespace.partition(parts);
        let names = [
            partition_name("a", &partition(Namespace::precious("n"), &["marker", "x"])),
            partition_name("b", &partition(Namespace::precious("n"), &["marker", "x"])),
            partition_name("a", &partition(Namespace::rebuildable("n"), &["marker", "x"])),
            partition_name("a", &partition(Namespace::precious("m"), &["marker", "x"])),
            partition_name("a", &partition(Namespace::precious("n"), &["markerx"])),
            partition_name("an", &partition(Namespace::precious(""), &["marker", "x"])),
        ];
        for (at, name) in names.iter().enumerate() {
            assert!(name.starts_with("ea1:") && !name.contains("marker") && name.len() == 47, "{name}");
            assert_eq!(names.iter().position(|other| other == name), Some(at));
        }
    }
}
