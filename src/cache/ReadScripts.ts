/** The Lua scripts that read. They change nothing, and a value of another type counts as absent. */
import { plainScript, treeScript } from "./LuaScript.js"

/**
 * Reads records. Arguments: a bound on the bytes of contents, the encoded ids. Returns line, content and whether it is
 * in the tree (1 or 0) of each id, in order; fewer ids than asked for when the bytes would exceed the bound, at least
 * one.
 */
export const readScript = plainScript(`
local limit, out, n, bytes = tonumber(ARGV[1]), {}, 0, 0
local read, I = attempt, P .. 'item:'
for id in ids(ARGV[2]) do
  local r = read('HMGET', I .. id, 'm', 'c', 'l')
  local c = r[2] or false
  out[n + 1] = r[1] or false
  out[n + 2] = c
  out[n + 3] = r[3] and 1 or 0
  n = n + 3
  if c then bytes = bytes + #c end
  if bytes >= limit then break end
end
return out
`)

/** Reads the line of each id, in order. Argument: the encoded ids. */
export const headsScript = plainScript(`
local out = {}
for id in ids(ARGV[1]) do
  local m = attempt('HGET', P .. 'item:' .. id, 'm')
  out[#out + 1] = type(m) == 'string' and m
end
return out
`)

/** One node. Argument: the path. Returns its 40 bytes or nothing. */
export const nodeScript = treeScript(`
E = epoch()
if not E then return false end
return redis.call('MGET', treeKey('tree:', ARGV[1]))[1]
`)

const page = `
local function page(key, from, to, limit)
  local names = attempt('ZRANGEBYLEX', key, from, to, 'LIMIT', '0', limit)
  return names.err and {} or names
end
`

/**
 * A page of children. Arguments: the path, where the branches begin, where the leaves begin and end (ZRANGEBYLEX
 * bounds), the limit. Returns branch names, their nodes, leaf names, their digests (empty for what is listed, but not
 * there); up to `limit` of each kind.
 */
export const childrenScript = treeScript(`${page}
local path, limit = ARGV[1], ARGV[5]
E = epoch()
if not E then return {{}, {}, {}, {}} end
local branches = page(treeKey('branches:', path), ARGV[2], '+', limit)
local nodes = {}
for i, name in ipairs(branches) do nodes[i] = redis.call('MGET', treeKey('tree:', below(path, name)))[1] end
local leaves = page(treeKey('leaves:', path), ARGV[3], ARGV[4], limit)
local digests = {}
for i, name in ipairs(leaves) do digests[i] = leafIn(attempt('HGET', itemKey(below(path, name)), 'l')) or '' end
return {branches, nodes, leaves, digests}
`)

/**
 * Adds up a stretch of leaves. Arguments: the path, where to begin, where to end, how many at most. Returns how
 * many were listed, the last name, and a node of those that are there.
 */
export const leafSumScript = treeScript(`${page}
E = epoch()
if not E then return {0, '', EMPTY} end
local names = page(treeKey('leaves:', ARGV[1]), ARGV[2], ARGV[3], ARGV[4])
local d = {0, 0, 0, 0, 0, 0, 0, 0, 0}
for _, name in ipairs(names) do
  local leaf = leafIn(attempt('HGET', itemKey(below(ARGV[1], name)), 'l'))
  if leaf then add(d, leaf, 1) end
end
return {#names, names[#names] or '', merged(nil, d)}
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
  {'GET', K}, {'SET', K, ''}, {'UNLINK', K}, {'TYPE', K}, {'HGET', K, 'm'}, {'HMGET', K, 'm'}, {'HSET', K, 'm', ''},
  {'PEXPIRE', K, '1'}, {'PTTL', K}, {'MGET', K}, {'MSET', K, ''}, {'ZADD', K, '0', ''}, {'ZREM', K, ''},
  {'ZRANGEBYLEX', K, '-', '+'}, {'XADD', K, '*', 'a', 'b'}, {'XRANGE', K, '-', '+'}, {'SCAN', '0'},
  {'EVALSHA', '', '1', K}
}) do
  if not redis.acl_check_cmd(unpack(command)) then lacking[#lacking + 1] = command[1] end
end
return {table.concat(lacking, ', '), ask()}
`)
