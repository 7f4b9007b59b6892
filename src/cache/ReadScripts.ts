/** The Lua scripts that read. They change nothing, and a value of another type counts as absent. */
import { maxIdBytes } from "../SyncItem.js"
import { plainScript, treeScript } from "./LuaScript.js"

/**
 * Reads values. Arguments: a bound on their bytes, the encoded ids. Returns the value of each id, in order, or nothing;
 * fewer than asked for when the bytes would exceed the bound, at least one.
 */
export const readScript = plainScript(`
local limit, out, n, bytes = tonumber(ARGV[1]), {}, 0, 0
local read, I = attempt, P .. 'item:'
for id in ids(ARGV[2]) do
  local v = read('GET', I .. id)
  n = n + 1
  out[n] = type(v) == 'string' and v
  if out[n] then bytes = bytes + #v end
  if bytes >= limit then break end
end
return out
`)

/** Reads the head of each id, in order; an empty one where nothing of ours is. Argument: the encoded ids. */
export const headsScript = treeScript(`
local out = {}
for id in ids(ARGV[1]) do out[#out + 1] = head(itemKey(id)) end
return out
`)

/** One node. Argument: the path. Returns its 40 bytes or nothing. */
export const nodeScript = treeScript(`
local e = epoch()
if not e then return false end
use(e)
return redis.call('MGET', treeKey('tree:', ARGV[1]))[1]
`)

/**
 * A page of children. Arguments: the path, where the branches begin, where the leaves begin and end (ZRANGEBYLEX
 * bounds), the limit. Returns branch names, their nodes, leaf names, their heads (empty for what is listed, but not
 * there); up to `limit` of each kind.
 */
export const childrenScript = treeScript(`
local function page(key, from, to)
  local names = attempt('ZRANGEBYLEX', key, from, to, 'LIMIT', '0', ARGV[5])
  return names.err and {} or names
end
local path, e = ARGV[1], epoch()
if not e then return {{}, {}, {}, {}} end
use(e)
local branches = page(treeKey('branches:', path), ARGV[2], '+')
local nodes = {}
for i, name in ipairs(branches) do nodes[i] = redis.call('MGET', treeKey('tree:', below(path, name)))[1] end
local leaves = page(treeKey('leaves:', path), ARGV[3], ARGV[4])
local heads = {}
for i, name in ipairs(leaves) do
  local found = head(itemKey(below(path, name)))
  heads[i] = inTree(found) and found or ''
end
return {branches, nodes, leaves, heads}
`)

/**
 * A page of leaves. Arguments: the path, where it begins and ends (ZRANGEBYLEX bounds), the limit. Returns name and head
 * of each (empty for what is listed, but not there), their lengths before them, in one string: a reply of thousands of
 * small ones costs both sides more than what is in them.
 */
export const leavesScript = treeScript(`
local path, e = ARGV[1], epoch()
if not e then return '' end
use(e)
local names = attempt('ZRANGEBYLEX', treeKey('leaves:', path), ARGV[2], ARGV[3], 'LIMIT', '0', ARGV[4])
if names.err then return '' end
local out, pack = {}, struct.pack
for i, name in ipairs(names) do
  local found = head(itemKey(below(path, name)))
  if not inTree(found) then found = '' end
  -- No item's name is longer.
  name = string.sub(name, 1, ${maxIdBytes + 1})
  out[i] = pack('>I2c0I2c0', #name, name, #found, found)
end
return table.concat(out)
`)

/** Entries of the change stream. Arguments: where to begin (an XRANGE bound), how many at most. */
export const readChangesScript = plainScript(`
return redis.call('XRANGE', P .. 'changes', ARGV[1], '+', 'COUNT', ARGV[2])
`)

/**
 * Proves that this server takes writes (by a deletion of what is not there). Returns which of the commands that an
 * engine needs this user may not run, `INFO`, and why that was refused (empty when it was not).
 */
export const examineScript = plainScript(`
local K = P .. 'item:'
redis.call('DEL', P .. 'examined')
local lacking = {}
for _, command in ipairs({
  {'GET', K}, {'SET', K, ''}, {'UNLINK', K}, {'TYPE', K}, {'GETRANGE', K, '0', '1'},
  {'SETRANGE', K, '0', ''}, {'MGET', K}, {'MSET', K, ''}, {'ZADD', K, '0', ''}, {'ZREM', K, ''},
  {'ZRANGEBYLEX', K, '-', '+'}, {'XADD', K, '*', 'a', 'b'}, {'XRANGE', K, '-', '+'}, {'SCAN', '0'},
  {'EVALSHA', '', '1', K}
}) do
  if not redis.acl_check_cmd(unpack(command)) then lacking[#lacking + 1] = command[1] end
end
return {table.concat(lacking, ', '), ask()}
`)
