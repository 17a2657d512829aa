/** Gives a file's blocks back to the file system. Loaded by the slow lane only: koffi costs some MB. */
import koffi from "koffi";

/** FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE. */
const punchAndKeepSize = 3;

export type PunchHole = (descriptor: number, offsetBytes: number, lengthBytes: number) => void;

type Fallocate = (descriptor: number, mode: number, offset: number, length: number) => number;

export function loadPunchHole(): PunchHole {
  const library = koffi.load("libc.so.6");
  const fallocate = library.func(
    "int fallocate(int descriptor, int mode, int64_t offset, int64_t length)",
  ) as Fallocate;
  return (descriptor, offsetBytes, lengthBytes) => {
    for (;;) {
      if (fallocate(descriptor, punchAndKeepSize, offsetBytes, lengthBytes) === 0) return;
      const errno = koffi.errno();
      if (errno === koffi.os.errno["EINTR"]) continue;
      throw Object.assign(new Error(`punch hole: error ${errno}`), { errno: -errno });
    }
  };
}
