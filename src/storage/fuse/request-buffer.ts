/**
 * The memory that requests are read into. When the process that is reading one is killed just then,
 * the kernel finishes the copy, and the next server gets the request again; but if a page has to be
 * brought in for it, the copy fails, and so does the request, with EIO (fuse_dev_do_read,
 * get_user_pages_fast). So every page is there from the beginning, and a fork does not protect it
 * from writing, as it does with the rest of the memory.
 */

/** linux/mman.h */
const protectReadWrite = 0x3;
const mapPrivateAnonymousPopulated = 0x02 | 0x20 | 0x8000;
const dontFork = 10;
const pageSizeBytes = 4_096;

/**
 * Zeroed, and at the beginning of a page; where the advice is not possible, a buffer like any other. It is mapped
 * for itself and never given back: memory that the C library hands out again keeps the advice, and a program
 * could not be started with arguments that lie there (EFAULT).
 */
export async function makeRequestBuffer(sizeBytes: number): Promise<Uint8Array> {
  const { default: koffi } = await import("koffi");
  const library = koffi.load("libc.so.6");
  const map = library.func("void *mmap(void *, size_t, int, int, int, long)") as (
    address: null,
    ...values: number[]
  ) => unknown;
  const advise = library.func("int madvise(void *, size_t, int)") as (
    memory: unknown,
    sizeBytes: number,
    advice: number,
  ) => number;
  const wholeSizeBytes = Math.ceil(sizeBytes / pageSizeBytes) * pageSizeBytes;
  const memory = map(null, wholeSizeBytes, protectReadWrite, mapPrivateAnonymousPopulated, -1, 0);
  // MAP_FAILED is all ones.
  if (koffi.address(memory) === 0xffff_ffff_ffff_ffffn) return new Uint8Array(sizeBytes).fill(0);
  advise(memory, wholeSizeBytes, dontFork);
  return new Uint8Array(koffi.view(memory, wholeSizeBytes)).subarray(0, sizeBytes);
}
