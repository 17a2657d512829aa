/**
 * The memory that requests are read into. When the process that is reading one is killed just then,
 * the kernel finishes the copy, and the next server gets the request again; but if a page has to be
 * brought in for it, the copy fails, and so does the request, with EIO (fuse_dev_do_read,
 * get_user_pages_fast). So every page is there from the beginning, and a fork does not protect it
 * from writing, as it does with the rest of the memory.
 */

/** linux/mman.h */
const dontFork = 10;
const pageSizeBytes = 4_096;

/** Zeroed, and at the beginning of a page; where the advice is not possible, a buffer like any other. */
export async function makeRequestBuffer(sizeBytes: number): Promise<Uint8Array> {
  const { default: koffi } = await import("koffi");
  const library = koffi.load("libc.so.6");
  const fill = library.func("void *memset(void *, int, size_t)") as (
    bytes: Uint8Array,
    value: number,
    sizeBytes: number,
  ) => unknown;
  const advise = library.func("int madvise(void *, size_t, int)") as (
    bytes: Uint8Array,
    sizeBytes: number,
    advice: number,
  ) => number;
  // Whole pages, so that nothing else lies on one that a child does not get.
  const wholeSizeBytes = Math.ceil(sizeBytes / pageSizeBytes) * pageSizeBytes;
  const memory = new Uint8Array(wholeSizeBytes + pageSizeBytes);
  const address = koffi.address(fill(memory, 0, memory.length));
  const page = BigInt(pageSizeBytes);
  const start = Number((page - (address % page)) % page);
  const buffer = memory.subarray(start, start + wholeSizeBytes);
  advise(buffer, wholeSizeBytes, dontFork);
  return buffer.subarray(0, sizeBytes);
}
