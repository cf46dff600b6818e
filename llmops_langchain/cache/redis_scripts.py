"""What a Redis or Valkey server runs for a `RedisStore`: Lua, each script one transaction.

Whether an entry was dropped is decided where it is read: it carries the generations at which it
was put and tagged, and one hash of the space (`state`) has those at which everything, or a tag, was
dropped last. So the server may let go of any key at any time, and nothing that was dropped comes
back: without the hash, a new one starts beyond all earlier generations, as `clear` does.

Keys of a space, after its root: `state` · `e:KEY` an entry · `t:TAG` the entries of a tag, by the
time they expire · `x:…` such a list, being erased · `recent` the last 1,000 keys, by their use ·
`c:KEY` a claim · `o:OWNER` the keys an owner claimed.
"""

__all__ = ["SCRIPTS"]

_TOOLS = """
local state, root = KEYS[1], ARGV[1]

local function generation()
  local known = redis.call('HGET', state, 'generation')
  if not known then
    -- Microseconds: more than there were changes, so no generation comes twice.
    local time = redis.call('TIME')
    known = string.format('%.0f', time[1] * 1000000 + time[2])
    redis.call('HSET', state, 'generation', known, '*', known)
  end
  return tonumber(known)
end

-- Marks are the generation of the put under '*', and of each tag under '#' and its name.
local function dropped(marks)
  generation()
  for mark, since in pairs(marks) do
    local last = redis.call('HGET', state, mark)
    if last and tonumber(last) > since then return true end
  end
  return false
end

local function opened(key)
  local name = root .. 'e:' .. key
  local packed = redis.call('GET', name)
  if not packed then return nil end
  local _, at, marks = pcall(cmsgpack.unpack_one, packed)
  if type(marks) == 'table' and not dropped(marks) then
    return marks, string.sub(packed, at + 1)
  end
  redis.call('UNLINK', name)
  return nil
end

-- A list names a tag's entries, to erase them when they are dropped; it ends with the last of them.
local function list(tag, key, lifetime)
  local name, time = root .. 't:' .. tag, redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', name, '-inf', now)
  redis.call('ZADD', name, lifetime > 0 and now + lifetime or '+inf', key)
  local last = redis.call('ZRANGE', name, -1, -1, 'WITHSCORES')[2]
  if last == 'inf' then
    redis.call('PERSIST', name)
  else
    redis.call('PEXPIREAT', name, last)
  end
end

local function keep(key, marks, body, lifetime)
  local expiry = lifetime > 0 and {'PX', lifetime} or {}
  redis.call('SET', root .. 'e:' .. key, cmsgpack.pack(marks) .. body, unpack(expiry))
  for mark in pairs(marks) do
    if mark ~= '*' then list(string.sub(mark, 2), key, lifetime) end
  end
end

-- A claim reads 'ENDS OWNER'; each owner has a set of the keys it claimed.
local function claim_on(key)
  return string.match(redis.call('GET', root .. 'c:' .. key) or '', '^(%S+) (.*)$')
end

local function set_claim(key, owner, ends, lifetime)
  redis.call('SET', root .. 'c:' .. key, ends .. ' ' .. owner, 'PX', lifetime)
  local claimed = root .. 'o:' .. owner
  redis.call('SADD', claimed, key)
  if redis.call('PTTL', claimed) < lifetime then redis.call('PEXPIRE', claimed, lifetime) end
end

local function end_claim(key, owner)
  local _, holder = claim_on(key)
  if holder == owner then redis.call('DEL', root .. 'c:' .. key) end
  redis.call('SREM', root .. 'o:' .. owner, key)
end
"""

_BODIES = {
    "get": """
local _, body = opened(ARGV[2])
return body or false
""",
    "put": """
local key, body, lifetime, created = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local seen, owner = tonumber(ARGV[6]), ARGV[7]
if owner ~= '' then end_claim(key, owner) end
local now = generation()
local marks = {['*'] = math.min(seen or now, now)}
for i = 8, #ARGV do marks['#' .. ARGV[i]] = marks['*'] end
if dropped(marks) then return 0 end
keep(key, marks, body, lifetime)
redis.call('ZADD', root .. 'recent', created, key)
redis.call('ZREMRANGEBYRANK', root .. 'recent', 0, -1001)
return 1
""",
    "tag": """
local key = ARGV[2]
local marks, body = opened(key)
if not marks then return end
for i = 3, #ARGV do marks['#' .. ARGV[i]] = generation() end
keep(key, marks, body, redis.call('PTTL', root .. 'e:' .. key))
""",
    "clear": """
local now = generation() + 1
redis.call('DEL', state)
redis.call('HSET', state, 'generation', now, '*', now)
redis.call('UNLINK', root .. 'recent')
return now
""",
    "sweep": """
local found = redis.call('SCAN', ARGV[2], 'MATCH', ARGV[3], 'COUNT', 1000)
for _, name in ipairs(found[2]) do
  if string.sub(name, #root + 1, #root + 2) == 'e:' then
    opened(string.sub(name, #root + 3))
  else
    redis.call('UNLINK', name)
  end
end
return found[1]
""",
    "invalidate": """
local now, most = generation() + 1, tonumber(ARGV[2])
redis.call('HSET', state, 'generation', now)
local answer = {now}
for i = 3, #ARGV do
  redis.call('HSET', state, '#' .. ARGV[i], now)
  local doomed = root .. 'x:' .. string.format('%.0f:', now) .. ARGV[i]
  if redis.call('EXISTS', root .. 't:' .. ARGV[i]) == 1 then
    redis.call('RENAME', root .. 't:' .. ARGV[i], doomed)
    table.insert(answer, doomed)
  end
end
if redis.call('HLEN', state) > most then
  redis.call('DEL', state)
  redis.call('HSET', state, 'generation', now, '*', now)
end
return answer
""",
    "erase": """
local popped = redis.call('ZPOPMIN', ARGV[2], 500)
for i = 1, #popped, 2 do opened(popped[i]) end
return #popped
""",
    "tagged": """
local tag, at = ARGV[2], tonumber(ARGV[3])
local listed = redis.call('ZRANGE', root .. 't:' .. tag, at, at + 499)
if #listed == 0 then return {} end
local found = {#listed}
for _, key in ipairs(listed) do
  local marks = opened(key)
  if marks and marks['#' .. tag] then table.insert(found, key) end
end
return found
""",
    "generation": "return generation()",
    "claim": """
local key, owner, now = ARGV[2], ARGV[3], tonumber(ARGV[4])
local ends, holder = claim_on(key)
if holder and holder ~= owner and now < tonumber(ends) then return 0 end
set_claim(key, owner, ARGV[5], tonumber(ARGV[6]))
return 1
""",
    "renew": """
local owner, ends = ARGV[2], ARGV[3]
for _, key in ipairs(redis.call('SMEMBERS', root .. 'o:' .. owner)) do
  local ended, holder = claim_on(key)
  if holder == owner then
    local longer = math.ceil((ends - ended) * 1000)
    set_claim(key, owner, ends, math.max(1, redis.call('PTTL', root .. 'c:' .. key) + longer))
  else
    redis.call('SREM', root .. 'o:' .. owner, key)
  end
end
""",
    "release": "end_claim(ARGV[2], ARGV[3])",
    "touch": """
for i = 3, #ARGV do
  redis.call('TOUCH', root .. 'e:' .. ARGV[i])
  redis.call('ZADD', root .. 'recent', 'XX', ARGV[2], ARGV[i])
end
""",
    "newest": """
local found, limit = {}, tonumber(ARGV[2])
for _, key in ipairs(redis.call('ZREVRANGE', root .. 'recent', 0, -1)) do
  if #found >= limit then break end
  local _, body = opened(key)
  if body then
    local high, low = string.byte(body, 17, 18)
    table.insert(found, string.sub(body, 1, 18 + high * 256 + low))
  else
    redis.call('ZREM', root .. 'recent', key)
  end
end
return found
""",
}

SCRIPTS = {name: _TOOLS + body for name, body in _BODIES.items()}
"""By the name of the `RedisStore` method or step; `KEYS[1]` is `state`, `ARGV[1]` the root."""
