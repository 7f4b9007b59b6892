/** The Lua scripts that write; see `LuaScript.ts` for the keys. */
import { headBytes, stampAt } from "./ItemValue.js"
import { plainScript, treeScript } from "./LuaScript.js"

/**
 * Changes items together with their tree, or nothing. Arguments: the epoch that the changes were made for, one for a
 * new tree, time to live (ms), time a tombstone stays (ms), then what `ItemChanges` encodes: items, nodes, lists.
 * Returns 1 when all was written. Otherwise nothing was: the epoch that is valid instead, or a flat list of id and head
 * of what is not as the changes assume.
 */
export const changeScript = treeScript(`
local e = epoch(ARGV[2])
if e ~= ARGV[1] then return e end
use(e)
local unpk, call = struct.unpack, redis.call
local I = P .. 'item:'
local set, n, others, held = {}, 0, {}, {}
local data = ARGV[5]
local pos, size = 1, #data
while pos <= size do
  local how, id, was, value
  how, id, was, value, pos = unpk('>BI2c0Bc0I4c0', data, pos)
  local key = I .. id
  local now = attempt('GETRANGE', key, ${stampAt}, ${headBytes - 1})
  -- Another program's value counts as absent.
  if now ~= was and (type(now) == 'string' or was ~= '') then
    held[#held + 1] = id
    held[#held + 1] = head(key)
  elseif how == 0 then
    set[n + 1] = key
    set[n + 2] = value
    n = n + 2
  else
    others[#others + 1] = {how, key, value}
  end
end
if #held > 0 then return held end

-- A server out of memory denies the first write; later ones it would let through, because the script has begun.
if n > 0 then call('MSET', unpack(set)) end
for _, other in ipairs(others) do
  local how, key, value = unpack(other)
  if how == 1 then call('SET', key, value, 'PX', ARGV[3])
  elseif how == 2 then call('SET', key, value, 'PX', ARGV[4])
  elseif how == 3 then call('SET', key, value, 'KEEPTTL')
  elseif how == 4 then call('UNLINK', key)
  else call('SETRANGE', key, ${stampAt}, value) end
end

-- Another program's key in the place of a list is replaced.
local function list(command, kind, parent, entries)
  local key = treeKey(kind, parent)
  for from = 1, #entries, 2000 do
    local to = math.min(from + 1999, #entries)
    local done = attempt(command, key, unpack(entries, from, to))
    if type(done) == 'table' and done.err then
      call('DEL', key)
      if command == 'ZADD' then call(command, key, unpack(entries, from, to)) end
    end
  end
end

-- Nodes: a number is added to each, modulo 2^256 and beside it the count.
local NODE = '>dI4I4I4I4I4I4I4I4'
local EMPTY = struct.pack(NODE, 0, 0, 0, 0, 0, 0, 0, 0, 0)
local function merged(node, change)
  local w = {unpk(NODE, node and #node == 40 and node or EMPTY)}
  local d = {unpk(NODE, change)}
  w[1] = w[1] + d[1]
  local carry = 0
  for k = 9, 2, -1 do
    local x = w[k] + d[k] + carry
    carry = math.floor(x / 4294967296)
    w[k] = x - carry * 4294967296
  end
  return struct.pack(NODE, unpack(w, 1, 9))
end

local branches = {ZADD = {}, ZREM = {}}
local function branch(command, path)
  local parent = string.match(path, '^(.*)%.') or ''
  local l = branches[command][parent]
  if not l then l = {}; branches[command][parent] = l end
  if command == 'ZADD' then l[#l + 1] = '0' end
  l[#l + 1] = parent == '' and path or string.sub(path, #parent + 2)
end

data = ARGV[6]
pos, size = 1, #data
while pos <= size do
  local keys, paths, changes, listed, nodes = {}, {}, {}, {}, 0
  while pos <= size and nodes < 1000 do
    nodes = nodes + 1
    listed[nodes], paths[nodes], changes[nodes], pos = unpk('>BI2c0c40', data, pos)
    keys[nodes] = treeKey('tree:', paths[nodes])
  end
  local stored, set, gone = call('MGET', unpack(keys)), {}, {}
  for i = 1, nodes do
    local path, node = paths[i], stored[i]
    local bytes = merged(node, changes[i])
    if bytes == EMPTY then
      if node then gone[#gone + 1] = keys[i] end
      if path ~= '' then branch('ZREM', path) end
    else
      set[#set + 1] = keys[i]
      set[#set + 1] = bytes
      if path ~= '' and (not node or listed[i] == 1) then branch('ZADD', path) end
    end
  end
  if #set > 0 then call('MSET', unpack(set)) end
  if #gone > 0 then call('DEL', unpack(gone)) end
end
for command, parents in pairs(branches) do
  for parent, entries in pairs(parents) do list(command, 'branches:', parent, entries) end
end

data = ARGV[7]
pos, size = 1, #data
while pos <= size do
  local remove, parent, names
  remove, parent, names, pos = unpk('>BI2c0I2', data, pos)
  local entries = {}
  for _ = 1, names do
    if remove == 0 then entries[#entries + 1] = '0' end
    entries[#entries + 1], pos = unpk('>I2c0', data, pos)
  end
  list(remove == 0 and 'ZADD' or 'ZREM', 'leaves:', parent, entries)
end
return 1
`)

/**
 * Looks at the server: whether it takes writes, which tree is there, and what it says of itself. Argument: an epoch for
 * a new tree. Returns the prefix as it stands in the keys, the valid epoch (empty when there is none and none could be
 * begun), why it takes no writes (empty when it does), `INFO`, and why that was refused (empty when it was not).
 */
export const greetScript = treeScript(`
local stored, foreign = epoch()
local written = redis.pcall('SET', P .. 'epoch', stored or ARGV[1])
if foreign and not written.err then leftBehind() end
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
local e = epoch()
if not e or (what ~= 'rebuild' and what ~= 'reset') then return {} end
return {e, what}
`)

/** Claims the cache for an archive. Arguments: its lineage, for how long (ms). Returns whose it is. */
export const claimScript = plainScript(`
local owner = attempt('GET', P .. 'owner')
if type(owner) == 'string' and owner ~= ARGV[1] then return owner end
redis.call('SET', P .. 'owner', ARGV[1], 'PX', ARGV[2])
return ARGV[1]
`)

/**
 * Removes items that are not in the tree of this epoch. Arguments: the epoch this reset began, the encoded ids.
 * Returns how many were removed, or -1 when another reset took over.
 */
export const dropScript = treeScript(`
if epoch() ~= ARGV[1] then return -1 end
use(ARGV[1])
local gone = 0
for id in ids(ARGV[2]) do
  if not inTree(head(itemKey(id))) then gone = gone + redis.call('UNLINK', itemKey(id)) end
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
