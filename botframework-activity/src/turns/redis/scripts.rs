//! How turns lie in Redis, and the scripts that move them. A script runs alone, so each is atomic.
//!
//! All names begin with one prefix that holds a hash tag, so all lie in one slot (`<l>` and `<t>` are SHA-256 hashes of
//! the names of lane and turn):
//!
//! | name | type | what |
//! |---|---|---|
//! | `lane:<l>` | list | the turns of a lane, first come first; the first may be running |
//! | `turn:<t>` | hash | `r` record, `p` progress, `a` attempts, `t` accepted at |
//! | `seen:<t>` | string | that the turn was accepted; lives as long as duplicates are recognised |
//! | `ready` | sorted set | lanes whose first turn may be leased, by the time from when on |
//! | `leased` | sorted set | lanes whose first turn runs, by the time the lease runs out |
//! | `fence` | hash | lane → number of its lease |
//! | `ended:<l>` | string | number of the lease that ended last, for a while: a repeated `finish` is recognised |
//! | `counter`, `turns`, `bytes` | string | last number of a lease, turns there are, bytes of their records |
//! | `dead` | list | records of turns that failed for good, the latest first, bounded |
//!
//! Times are microseconds since 1970 by the server's clock. Numbers of leases never repeat, even when the server has
//! lost its data: they are not below its clock.

/// What every script begins with. `KEYS[1]` is the prefix.
const HEAD: &str = "\
local p = KEYS[1]
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function number(n) return string.format('%.0f', n) end
";

/// Whether the lease `ARGV[2]` of lane `ARGV[1]` is still good.
const HELD: &str = "\
local lane, fence = ARGV[1], ARGV[2]
local until_ = tonumber(redis.call('ZSCORE', p .. 'leased', lane) or '0')
local held = redis.call('HGET', p .. 'fence', lane) == fence and until_ > now
local turn = held and redis.call('LINDEX', p .. 'lane:' .. lane, 0)
";

/// `ARGV`: turn, lane, record, limit of the lane, of all turns, of all bytes, milliseconds of memory, nonce.
/// 0 new, 1 duplicate, 2 lane full, 3 no room. A repetition with the same nonce is told what the first one was told.
const ACCEPT: &str = "\
local turn, lane, record = ARGV[1], ARGV[2], ARGV[3]
local seen = redis.call('GET', p .. 'seen:' .. turn)
if seen == ARGV[8] then return 0 end
if seen or redis.call('EXISTS', p .. 'turn:' .. turn) == 1 then return 1 end
local length = redis.call('LLEN', p .. 'lane:' .. lane)
if length >= tonumber(ARGV[4]) then return 2 end
local turns = tonumber(redis.call('GET', p .. 'turns') or '0')
local bytes = tonumber(redis.call('GET', p .. 'bytes') or '0') + #record
if turns >= tonumber(ARGV[5]) or bytes > tonumber(ARGV[6]) then return 3 end
redis.call('SET', p .. 'seen:' .. turn, ARGV[8], 'PX', ARGV[7])
redis.call('HSET', p .. 'turn:' .. turn, 'r', record, 't', number(now))
redis.call('RPUSH', p .. 'lane:' .. lane, turn)
redis.call('INCR', p .. 'turns')
redis.call('INCRBY', p .. 'bytes', #record)
if length == 0 then redis.call('ZADD', p .. 'ready', number(now), lane) end
return 0
";

/// `ARGV`: milliseconds of a lease. The lease as a list of seven (lane, turn, record, progress, attempt, number, age in
/// milliseconds), or the milliseconds until something may happen, -1 when nothing is in sight.
const LEASE: &str = "\
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', p .. 'leased', '-inf', number(now), 'LIMIT', 0, 100)) do
  redis.call('ZREM', p .. 'leased', lane)
  redis.call('HDEL', p .. 'fence', lane)
  redis.call('ZADD', p .. 'ready', number(now), lane)
end
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', p .. 'ready', '-inf', number(now), 'LIMIT', 0, 100)) do
  redis.call('ZREM', p .. 'ready', lane)
  local turn = redis.call('LINDEX', p .. 'lane:' .. lane, 0)
  if turn then
    local key = p .. 'turn:' .. turn
    local attempt = redis.call('HINCRBY', key, 'a', 1)
    local last = tonumber(redis.call('GET', p .. 'counter') or '0')
    local fence = number(math.max(last + 1, now))
    redis.call('SET', p .. 'counter', fence)
    redis.call('HSET', p .. 'fence', lane, fence)
    redis.call('ZADD', p .. 'leased', number(now + tonumber(ARGV[1]) * 1000), lane)
    local kept = redis.call('HMGET', key, 'r', 'p', 't')
    local age = math.floor((now - tonumber(kept[3] or number(now))) / 1000)
    return {lane, turn, kept[1] or '', kept[2] or '', attempt, fence, number(age)}
  end
end
local next = -1
for _, set in ipairs({'ready', 'leased'}) do
  local first = redis.call('ZRANGE', p .. set, 0, 0, 'WITHSCORES')[2]
  if first then
    local wait = math.max(math.ceil((tonumber(first) - now) / 1000), 0)
    if next < 0 or wait < next then next = wait end
  end
end
return next
";

/// `ARGV`: lane, number, milliseconds of a lease, and the progress when there is one to store. 1, or 0 for a lease that
/// is lost.
const CHECKPOINT: &str = "\
if not turn then return 0 end
redis.call('ZADD', p .. 'leased', number(now + tonumber(ARGV[3]) * 1000), lane)
if ARGV[4] then redis.call('HSET', p .. 'turn:' .. turn, 'p', ARGV[4]) end
return 1
";

/// `ARGV`: lane, number, end (`done`, `dead`, `again`, or `undo` for a lease that nobody worked on), milliseconds of
/// rest, how many of the dead are kept, for how many milliseconds. 1, or 0 for a lease that is lost.
const FINISH: &str = "\
if not turn then
  return redis.call('GET', p .. 'ended:' .. lane) == fence and 1 or 0
end
local key, ending = p .. 'turn:' .. turn, ARGV[3]
redis.call('ZREM', p .. 'leased', lane)
redis.call('HDEL', p .. 'fence', lane)
redis.call('SET', p .. 'ended:' .. lane, fence, 'PX', 60000)
if ending == 'again' or ending == 'undo' then
  if ending == 'undo' then redis.call('HINCRBY', key, 'a', -1) end
  redis.call('ZADD', p .. 'ready', number(now + tonumber(ARGV[4]) * 1000), lane)
  return 1
end
if ending == 'dead' then
  redis.call('LPUSH', p .. 'dead', redis.call('HGET', key, 'r') or '')
  redis.call('LTRIM', p .. 'dead', 0, tonumber(ARGV[5]) - 1)
  redis.call('PEXPIRE', p .. 'dead', ARGV[6])
end
redis.call('LPOP', p .. 'lane:' .. lane)
redis.call('DECR', p .. 'turns')
redis.call('DECRBY', p .. 'bytes', redis.call('HSTRLEN', key, 'r'))
redis.call('DEL', key)
if redis.call('EXISTS', p .. 'lane:' .. lane) == 1 then
  redis.call('ZADD', p .. 'ready', number(now), lane)
end
return 1
";

/// Turns, lanes that are ready or rest, lanes that run, the dead.
const STATS: &str = "\
return {
  tonumber(redis.call('GET', p .. 'turns') or '0'), redis.call('ZCARD', p .. 'ready'),
  redis.call('ZCARD', p .. 'leased'), redis.call('LLEN', p .. 'dead')
}
";

/// The scripts, put together.
pub(super) struct Scripts {
    pub(super) accept: String,
    pub(super) lease: String,
    pub(super) checkpoint: String,
    pub(super) finish: String,
    pub(super) stats: String,
}

impl Scripts {
    pub(super) fn new() -> Self {
        // A server that is full refuses new turns. What is in the queue must be able to end all the same.
        let ending = "#!lua flags=allow-oom\n";
        Self {
            accept: format!("#!lua\n{HEAD}{ACCEPT}"),
            lease: format!("{ending}{HEAD}{LEASE}"),
            checkpoint: format!("{ending}{HEAD}{HELD}{CHECKPOINT}"),
            finish: format!("{ending}{HEAD}{HELD}{FINISH}"),
            stats: format!("#!lua flags=no-writes\n{HEAD}{STATS}"),
        }
    }
}
