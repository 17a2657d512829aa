import { Socket } from "node:net";
import { type Readable, Writable } from "node:stream";

/** The reading end of a FIFO as a stream; owns the descriptor. */
export function fifoReader(fd: number): Readable {
  const socket = new Socket({ fd, readable: true, writable: false });
  // A read error can only follow the end of all that was readable.
  socket.on("error", () => undefined);
  return socket;
}

/**
 * The writing end of a FIFO as a stream; owns the descriptor. The other side sees the end of its
 * input when the last byte is written after `end()`. What is written after the other side has
 * closed is dropped, as a program's unread input always is.
 */
export function fifoWriter(fd: number): Writable {
  const socket = new Socket({ fd, readable: false, writable: true });
  let closed = false;
  const markClosed = () => {
    closed = true;
  };
  socket.on("error", markClosed);
  socket.on("close", markClosed);
  return new Writable({
    write(chunk: Buffer, _encoding, callback) {
      if (closed) {
        callback();
        return;
      }
      socket.write(chunk, () => callback());
    },
    final(callback) {
      socket.destroy();
      callback();
    },
    destroy(error, callback) {
      socket.destroy();
      callback(error);
    },
  });
}
