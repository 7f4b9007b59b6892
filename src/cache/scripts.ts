/**
 * The Lua scripts that write items and the tree. One script call is atomic, so an item and what it adds to the
 * tree never part.
 *
 * Keys, all behind the prefix `P`:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `P item:<id>` | hash | `m`: one line of text, `version updatedAt kind hash traceparent state` (kind `j` JSON, `b` binary, `d` tombstone; `-` for no traceparent; state may be missing), `c`: the content, `l`: 32 bytes leaf digest and 8 of the epoch, present on what is in the tree |
 * | `P epoch` | string | eight characters; the tree whose keys carry them is the valid one |
 * | `P tree:<epoch>:<path>` | string | a node: count (double) and sum (32 bytes), big-endian |
 * | `P branches:<epoch>:<path>` | zset | names of the nodes one level below, all scores 0 |
 * | `P leaves:<epoch>:<path>` | zset | last segments of the items one level below, all scores 0 |
 * | `P unfinished` | string | `rebuild` or `reset`, while the one that began the epoch is under way or was broken off |
 * | `P owner` | string | the archive this cache belongs to; expires unless it is renewed |
 * | `P changes` | stream | the change stream |
 *
 * Lua counts in doubles. Sums are therefore added as eight 32-bit words with carries, which stays exact for any
 * number of changes; versions arrive as decimal text and are at most 2^53 - 1.
 */

/**
 * Another program's value in the place of ours is what `attempt` returns as an error; any other failure, such as a
 * command that the user may not run, ends the script.
 */
export const attempt = `
local function attempt(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err and not string.find(reply.err, 'WRONGTYPE', 1, true) then error(reply) end
  return reply
end
`

/** Definitions that several scripts share; every script begins with them. */
export const prelude = `${attempt}
local P = KEYS[1]
local WORDS = '>I4I4I4I4I4I4I4I4'
local NODE = '>dI4I4I4I4I4I4I4I4'

-- The valid epoch. Without one (a new or flushed server) the tree is empty, and a writer begins it with its own token.
local function epoch(fresh)
  local e = attempt('GET', P .. 'epoch')
  if type(e) == 'string' and #e == 8 then return e end
  if fresh then redis.call('SET', P .. 'epoch', fresh) end
  return fresh
end

local function parentOf(path) return string.match(path, '^(.*)%.') or '' end
local function nameOf(path, parent)
  if parent == '' then return path end
  return string.sub(path, #parent + 2)
end

-- Version, kind, hash and state in a line, or nothing when it makes no sense.
local function parse(m)
  if not m then return nil end
  local v, kind, h, state = string.match(m, '^(%d+) %d+ ([jbd]) (%x+) %S* ?(.*)$')
  if not v or #v > 16 or #h ~= 64 then return nil end
  local n = tonumber(v)
  if n > 9007199254740991 then return nil end
  return n, kind, h, state
end

-- The digest this item has in the tree of this epoch, or nil.
local function leafIn(e, l)
  if l and #l == 40 and string.sub(l, 33) == e then return string.sub(l, 1, 32) end
  return nil
end
`

/** How a batch's leaves change the tree. Needs the prelude. */
const settle = `
local deltas, added, removed, relist = {}, {}, {}, {}

-- One leaf below parent leaves (sign -1) or enters (sign 1) the sums.
local function count(parent, digest, sign)
  local d = deltas[parent]
  if not d then d = {0, 0, 0, 0, 0, 0, 0, 0, 0}; deltas[parent] = d end
  local a, b, c, e, f, g, h, i = struct.unpack(WORDS, digest)
  d[1] = d[1] + sign
  d[2] = d[2] + sign * a; d[3] = d[3] + sign * b; d[4] = d[4] + sign * c; d[5] = d[5] + sign * e
  d[6] = d[6] + sign * f; d[7] = d[7] + sign * g; d[8] = d[8] + sign * h; d[9] = d[9] + sign * i
end

local function list(lists, parent, name, score)
  local l = lists[parent]
  if not l then l = {}; lists[parent] = l end
  if score then l[#l + 1] = '0' end
  l[#l + 1] = name
end

-- Runs ZADD or ZREM over all members, a foreign key in their place is replaced.
local function members(command, key, list)
  for from = 1, #list, 2000 do
    local to = math.min(from + 1999, #list)
    local done = attempt(command, key, unpack(list, from, to))
    if type(done) == 'table' and done.err then
      redis.call('DEL', key)
      if command == 'ZADD' then redis.call(command, key, unpack(list, from, to)) end
    end
  end
end

local function settle(E)
  local total, paths = {}, {}
  for parent, d in pairs(deltas) do
    local at = parent
    while true do
      local t = total[at]
      if not t then
        t = {0, 0, 0, 0, 0, 0, 0, 0, 0}
        total[at] = t
        paths[#paths + 1] = at
      end
      for i = 1, 9 do t[i] = t[i] + d[i] end
      if relist[parent] then t.relist = true end
      if at == '' then break end
      at = parentOf(at)
    end
  end
  local above, below = {}, {}
  for from = 1, #paths, 1000 do
    local to = math.min(from + 999, #paths)
    local keys = {}
    for i = from, to do keys[#keys + 1] = P .. 'tree:' .. E .. ':' .. paths[i] end
    local nodes = redis.call('MGET', unpack(keys))
    local set, gone = {}, {}
    for i = from, to do
      local path, t, node = paths[i], total[paths[i]], nodes[i - from + 1]
      local w = {0, 0, 0, 0, 0, 0, 0, 0, 0}
      if node and #node == 40 then w = {struct.unpack(NODE, node)} end
      w[1] = w[1] + t[1]
      local carry, zero = 0, w[1] == 0
      for k = 9, 2, -1 do
        local x = w[k] + t[k] + carry
        carry = math.floor(x / 4294967296)
        x = x - carry * 4294967296
        w[k] = x
        if x ~= 0 then zero = false end
      end
      local key = keys[i - from + 1]
      if zero then
        if node then gone[#gone + 1] = key end
        if path ~= '' then list(below, parentOf(path), nameOf(path, parentOf(path))) end
      else
        set[#set + 1] = key
        set[#set + 1] = struct.pack(NODE, w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9])
        if path ~= '' and (not node or t.relist) then
          list(above, parentOf(path), nameOf(path, parentOf(path)), true)
        end
      end
    end
    if #set > 0 then redis.call('MSET', unpack(set)) end
    if #gone > 0 then redis.call('DEL', unpack(gone)) end
  end
  for parent, l in pairs(above) do members('ZADD', P .. 'branches:' .. E .. ':' .. parent, l) end
  for parent, l in pairs(below) do members('ZREM', P .. 'branches:' .. E .. ':' .. parent, l) end
  for parent, l in pairs(added) do members('ZADD', P .. 'leaves:' .. E .. ':' .. parent, l) end
  for parent, l in pairs(removed) do members('ZREM', P .. 'leaves:' .. E .. ':' .. parent, l) end
end
`

/**
 * Proves that this server takes writes, and names the tree that is there. Argument: an epoch for a new tree. Returns
 * the valid epoch.
 */
export const helloScript = `${prelude}
local E = epoch(ARGV[1])
redis.call('SET', P .. 'epoch', E)
return E
`

/**
 * Writes a chunk of records. Of a version that the tree holds, another line is only written by a repair. What stands
 * outside of the tree gives way to another content of its version, which the archive has, but not to one that expires.
 * Arguments: mode (`put`, `fill` or `repair`), time to live (ms, `0` for none), time a tombstone
 * stays (ms), an epoch for a new tree, the packed records (ids distinct). Returns applied, same, foreign, and a flat list of
 * id and line of what was newer.
 */
export const putScript = `${prelude}${settle}
local fill, repair = ARGV[1] == 'fill', ARGV[1] == 'repair'
local ttl, tombstoneTtl, data = tonumber(ARGV[2]), ARGV[3], ARGV[5]
local E = epoch(ARGV[4])
-- A server out of memory denies this first write; later ones it would let through, because the script has begun.
redis.call('SET', P .. 'epoch', E)
local applied, same, foreign, newer = 0, 0, 0, {}
local pos, size = 1, #data
while pos <= size do
  local id, m, leaf, c
  id, m, leaf, c, pos = struct.unpack('>I2c0I2c0c32I4c0', data, pos)
  local v, kind, h, state = parse(m)
  local deleted = kind == 'd'
  local key = P .. 'item:' .. id
  local old = attempt('HMGET', key, 'm', 'l')
  if old.err then
    foreign = foreign + 1
    old = {}
  end
  local ov, okind, oh, ostate = parse(old[1])
  local order = ov and v - ov or 1
  local other = order == 0 and (h ~= oh or kind ~= okind or state ~= ostate)
  local was = leafIn(E, old[2])
  if order < 0 or other and not repair and (was or ttl > 0) then
    newer[#newer + 1] = id
    newer[#newer + 1] = old[1]
  elseif order == 0 and was and old[1] ~= m and not repair then
    same = same + 1
  else
    if order == 0 and not other then same = same + 1 else applied = applied + 1 end
    local keep = ttl
    if deleted then keep = tombstoneTtl
    elseif fill and old[1] and not old[2] and okind ~= 'd' then
      local left = redis.call('PTTL', key)
      if left > 0 then keep = left end
    end
    local inTree = not deleted and keep == 0
    local parent = parentOf(id)
    -- What is in the tree has these three fields and no expiry: nothing to clear.
    if not (was and inTree) then redis.call('UNLINK', key) end
    if inTree then redis.call('HSET', key, 'm', m, 'c', c, 'l', leaf .. E)
    else
      if deleted then redis.call('HSET', key, 'm', m) else redis.call('HSET', key, 'm', m, 'c', c) end
      redis.call('PEXPIRE', key, keep)
    end
    if was then count(parent, was, -1) end
    if inTree then
      count(parent, leaf, 1)
      if not was or order == 0 then list(added, parent, nameOf(id, parent), true) end
      if order == 0 then relist[parent] = true end
    elseif was then
      list(removed, parent, nameOf(id, parent))
    end
  end
end
settle(E)
return {applied, same, foreign, newer}
`

/**
 * Removes items from cache and tree. Arguments: an epoch for a new tree, the packed targets (id and version, an
 * empty version means any). Returns how many keys were removed.
 */
export const removeScript = `${prelude}${settle}
local data = ARGV[2]
local E = epoch(ARGV[1])
local gone, pos, size = 0, 1, #data
while pos <= size do
  local id, v
  id, v, pos = struct.unpack('>I2c0Bc0', data, pos)
  local key = P .. 'item:' .. id
  local old = attempt('HMGET', key, 'm', 'l')
  local ov = not old.err and parse(old[1])
  if v == '' or not ov or ov <= tonumber(v) then
    local parent = parentOf(id)
    local was = not old.err and leafIn(E, old[2])
    gone = gone + redis.call('UNLINK', key)
    if was then count(parent, was, -1) end
    list(removed, parent, nameOf(id, parent))
  end
end
settle(E)
return gone
`

/** Begins a new tree. Arguments: its epoch, what for (`rebuild` or `reset`). */
export const beginScript = `${prelude}
redis.call('MSET', P .. 'epoch', ARGV[1], P .. 'unfinished', ARGV[2])
return 1
`

/** Ends what began an epoch. Argument: the epoch. Returns -1 when another one took over. */
export const endScript = `${prelude}
if epoch() ~= ARGV[1] then return -1 end
return redis.call('DEL', P .. 'unfinished')
`

/** What is unfinished: returns its epoch and what it is for, or nothing. */
export const unfinishedScript = `${prelude}
local what = attempt('GET', P .. 'unfinished')
local E = epoch()
if not E or (what ~= 'rebuild' and what ~= 'reset') then return {} end
return {E, what}
`

/** Claims the cache for an archive. Arguments: its lineage, for how long (ms). Returns whose it is. */
export const claimScript = `${prelude}
local owner = attempt('GET', P .. 'owner')
if type(owner) == 'string' and owner ~= ARGV[1] then return owner end
redis.call('SET', P .. 'owner', ARGV[1], 'PX', ARGV[2])
return ARGV[1]
`

/**
 * Lets items that are there enter the tree of the present epoch, as they stand. Arguments: the epoch this rebuild
 * began (another one means another rebuild took over), the packed ids. Returns how many entered, or -1.
 */
export const adoptScript = `${prelude}${settle}
local E, data = ARGV[1], ARGV[2]
if epoch() ~= E then return -1 end
local entered, pos, size = 0, 1, #data
while pos <= size do
  local id
  id, pos = struct.unpack('>I2c0', data, pos)
  local key = P .. 'item:' .. id
  local l = attempt('HGET', key, 'l')
  if type(l) == 'string' and #l == 40 and string.sub(l, 33) ~= E then
    local leaf = string.sub(l, 1, 32)
    local parent = parentOf(id)
    redis.call('HSET', key, 'l', leaf .. E)
    count(parent, leaf, 1)
    list(added, parent, nameOf(id, parent), true)
    entered = entered + 1
  end
end
settle(E)
return entered
`

/**
 * Removes items that are not in the tree of this epoch. Arguments: the epoch this reset began, the packed ids.
 * Returns how many were removed, or -1 when another reset took over.
 */
export const dropScript = `${prelude}
local E, data = ARGV[1], ARGV[2]
if epoch() ~= E then return -1 end
local gone, pos, size = 0, 1, #data
while pos <= size do
  local id
  id, pos = struct.unpack('>I2c0', data, pos)
  local key = P .. 'item:' .. id
  local l = attempt('HGET', key, 'l')
  if type(l) == 'table' or not leafIn(E, l) then gone = gone + redis.call('UNLINK', key) end
end
return gone
`

/**
 * Removes keys of earlier trees. Arguments: the epoch that this rebuild or reset began, then the keys. Returns how
 * many were removed, or -1 when another one took over.
 */
export const sweepScript = `${prelude}
if epoch() ~= ARGV[1] then return -1 end
local gone = 0
for i = 2, #ARGV do gone = gone + redis.call('UNLINK', ARGV[i]) end
return gone
`

/**
 * Appends to the change stream. Arguments: about how many entries to keep, the packed entries. Returns the last
 * position.
 */
export const appendChangesScript = `
local key, data = KEYS[1] .. 'changes', ARGV[2]
if redis.call('TYPE', key).ok ~= 'stream' then redis.call('DEL', key) end
local pos, size, last = 1, #data, ''
while pos <= size do
  local op, id, version, hash, sequence
  op, id, version, hash, sequence, pos = struct.unpack('>BI2c0Bc0c64Bc0', data, pos)
  last = redis.call('XADD', key, 'MAXLEN', '~', ARGV[1], '*',
    'op', op == 1 and 'DELETE' or 'PUT', 'id', id, 'version', version, 'hash', hash, 'seq', sequence)
end
return last
`
