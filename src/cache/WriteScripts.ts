/** The Lua scripts that write; see `LuaScript.ts` for the keys. */
import { itemScript, plainScript, treeScript } from "./LuaScript.js"

/** Version, kind, hash and state in a line, or nothing when it makes no sense. */
const parse = `
local function parse(m)
  if not m then return nil end
  local v, kind, h, state = string.match(m, '^(%d+) %d+ ([jbd]) (%x+) %S* ?(.*)$')
  if not v or #v > 16 or #h ~= 64 then return nil end
  local n = tonumber(v)
  if n > 9007199254740991 then return nil end
  return n, kind, h, state
end
`

/**
 * Writes a chunk of records. Of a version that the tree holds, another line is only written by a repair. What stands
 * outside of the tree gives way to another content of its version, which the archive has, but not to one that expires.
 * Arguments: mode (`put`, `fill` or `repair`), time to live (ms, `0` for none), time a tombstone stays (ms), an epoch
 * for a new tree, the encoded records (ids distinct). Returns applied, same, and a flat list of id and line of what was
 * newer.
 */
export const putScript = itemScript(`${parse}
local fill, repair = ARGV[1] == 'fill', ARGV[1] == 'repair'
local ttl, tombstoneTtl, data = tonumber(ARGV[2]), ARGV[3], ARGV[5]
E = epoch(ARGV[4])
-- A server out of memory denies this first write; later ones it would let through, because the script has begun.
redis.call('SET', P .. 'epoch', E)
local applied, same, newer = 0, 0, {}
local pos, size = 1, #data
while pos <= size do
  local id, m, leaf, c
  id, m, leaf, c, pos = struct.unpack('>I2c0I2c0c32I4c0', data, pos)
  local v, kind, h, state = parse(m)
  local deleted = kind == 'd'
  local key = itemKey(id)
  local old = attempt('HMGET', key, 'm', 'l')
  local ov, okind, oh, ostate = parse(old[1])
  local order = ov and v - ov or 1
  local other = order == 0 and (h ~= oh or kind ~= okind or state ~= ostate)
  local was = leafIn(old[2])
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
      if not was or order == 0 then list('ZADD', 'leaves:', id, parent) end
      if order == 0 then relist[parent] = true end
    elseif was then
      list('ZREM', 'leaves:', id, parent)
    end
  end
end
settle()
return {applied, same, newer}
`)

/**
 * Removes items from cache and tree. Arguments: an epoch for a new tree, the encoded targets (id and version, an empty
 * version means any). Returns how many keys were removed.
 */
export const removeScript = itemScript(`${parse}
local data = ARGV[2]
E = epoch(ARGV[1])
local gone, pos, size = 0, 1, #data
while pos <= size do
  local id, v
  id, v, pos = struct.unpack('>I2c0Bc0', data, pos)
  local key = itemKey(id)
  local old = attempt('HMGET', key, 'm', 'l')
  local ov = parse(old[1])
  if v == '' or not ov or ov <= tonumber(v) then
    local parent = parentOf(id)
    local was = leafIn(old[2])
    gone = gone + redis.call('UNLINK', key)
    if was then count(parent, was, -1) end
    list('ZREM', 'leaves:', id, parent)
  end
end
settle()
return gone
`)

/**
 * Looks at the server: whether it takes writes, which tree is there, and what it says of itself. Argument: an epoch for
 * a new tree. Returns the prefix as it stands in the keys, the valid epoch (empty when there is none and none could be
 * begun), why it takes no writes (empty when it does), `INFO`, and why that was refused (empty when it was not).
 */
export const greetScript = treeScript(`
local stored = epoch()
local written = redis.pcall('SET', P .. 'epoch', stored or ARGV[1])
return {P, stored or (written.err and '' or ARGV[1]), written.err or '', ask()}
`)

/** Begins a new tree. Arguments: its epoch, what for (`rebuild` or `reset`). */
export const beginScript = plainScript(`
return redis.call('MSET', P .. 'epoch', ARGV[1], P .. 'unfinished', ARGV[2])
`)

/** Ends what began an epoch. Argument: the epoch. Returns -1 when another one took over. */
export const endScript = treeScript(`
if epoch() ~= ARGV[1] then return -1 end
return redis.call('DEL', P .. 'unfinished')
`)

/** What is unfinished: returns its epoch and what it is for, or nothing. */
export const unfinishedScript = treeScript(`
local what = attempt('GET', P .. 'unfinished')
E = epoch()
if not E or (what ~= 'rebuild' and what ~= 'reset') then return {} end
return {E, what}
`)

/** Claims the cache for an archive. Arguments: its lineage, for how long (ms). Returns whose it is. */
export const claimScript = plainScript(`
local owner = attempt('GET', P .. 'owner')
if type(owner) == 'string' and owner ~= ARGV[1] then return owner end
redis.call('SET', P .. 'owner', ARGV[1], 'PX', ARGV[2])
return ARGV[1]
`)

/**
 * Lets items that are there enter the tree of the present epoch, as they stand. Arguments: the epoch this rebuild
 * began, the encoded ids. Returns how many entered, or -1 when another rebuild took over.
 */
export const adoptScript = itemScript(`
E = ARGV[1]
if epoch() ~= E then return -1 end
local entered = 0
for id in ids(ARGV[2]) do
  local l = attempt('HGET', itemKey(id), 'l')
  if type(l) == 'string' and #l == 40 and not leafIn(l) then
    local leaf = string.sub(l, 1, 32)
    local parent = parentOf(id)
    redis.call('HSET', itemKey(id), 'l', leaf .. E)
    count(parent, leaf, 1)
    list('ZADD', 'leaves:', id, parent)
    entered = entered + 1
  end
end
settle()
return entered
`)

/**
 * Removes items that are not in the tree of this epoch. Arguments: the epoch this reset began, the encoded ids.
 * Returns how many were removed, or -1 when another reset took over.
 */
export const dropScript = treeScript(`
E = ARGV[1]
if epoch() ~= E then return -1 end
local gone = 0
for id in ids(ARGV[2]) do
  if not leafIn(attempt('HGET', itemKey(id), 'l')) then gone = gone + redis.call('UNLINK', itemKey(id)) end
end
return gone
`)

/**
 * Removes keys of earlier trees. Arguments: the epoch that this rebuild or reset began, then the keys without the
 * prefix. Returns how many were removed, or -1 when another one took over.
 */
export const sweepScript = treeScript(`
if epoch() ~= ARGV[1] then return -1 end
local gone = 0
for i = 2, #ARGV do gone = gone + redis.call('UNLINK', P .. ARGV[i]) end
return gone
`)

/**
 * Appends to the change stream. Arguments: about how many entries to keep, the encoded entries. Returns the last
 * position.
 */
export const appendChangesScript = plainScript(`
local key, data = P .. 'changes', ARGV[2]
if redis.call('TYPE', key).ok ~= 'stream' then redis.call('DEL', key) end
local pos, size, last = 1, #data, ''
while pos <= size do
  local op, id, version, hash, sequence
  op, id, version, hash, sequence, pos = struct.unpack('>BI2c0Bc0c64Bc0', data, pos)
  last = redis.call('XADD', key, 'MAXLEN', '~', ARGV[1], '*',
    'op', op == 1 and 'DELETE' or 'PUT', 'id', id, 'version', version, 'hash', hash, 'seq', sequence)
end
return last
`)
