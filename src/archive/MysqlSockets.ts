/**
 * The sockets under the MySQL pool. The driver knows no time limit for an answer: a server that hangs, or a
 * network that swallows packets, would hold a connection and whoever waits for it for ever. Here a socket on
 * which something was asked and nothing has moved for the limit is destroyed; the driver then fails what was
 * asked and drops the connection from its pool.
 *
 * @since 0.1.0
 */
import { connect, type Socket } from "node:net"

/** @since 0.1.0 @category models */
export interface MysqlSockets {
  /** Makes the socket of a new connection. */
  readonly open: () => Socket
  /** Destroys all that are left. */
  readonly destroyAll: () => void
  readonly size: () => number
}

/** @since 0.1.0 @category constructors */
export const make = (options: {
  readonly host: string
  readonly port: number
  /** Milliseconds without a byte in either direction while an answer is due. */
  readonly answerTimeoutMs: number
}): MysqlSockets => {
  const sockets = new Set<Socket>()
  return {
    open: () => {
      const socket = connect({
        host: options.host,
        port: options.port,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: 10_000
      })
      sockets.add(socket)
      // What had been written when the last byte was received; more has been written since when an answer is due.
      let answered = 0
      socket.on("data", () => {
        answered = socket.bytesWritten
      })
      socket.setTimeout(options.answerTimeoutMs)
      socket.on("timeout", () => {
        if (socket.bytesWritten === answered && socket.writableLength === 0) {
          // Nothing is due: the connection is idle in the pool. Timeouts fire once; arm the next.
          socket.setTimeout(options.answerTimeoutMs)
          return
        }
        const error = new Error(`no answer within ${options.answerTimeoutMs} ms`)
        socket.destroy(Object.assign(error, { code: "ETIMEDOUT" }))
      })
      socket.on("close", () => sockets.delete(socket))
      return socket
    },
    destroyAll: () => {
      for (const socket of sockets) socket.destroy()
    },
    size: () => sockets.size
  }
}
