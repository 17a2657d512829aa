import { Crc64 } from "./crc64.ts";
import { checksumFlag } from "./format.ts";

/** Whole-file and database checksums of LTX (docs/formats/ltx.md, "Checksums"). */

/** What one page adds to a database's checksum: the XOR over all pages, with bit 63 set. */
export function pageChecksum(pgno: number, bytes: Uint8Array): bigint {
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, pgno);
  return new Crc64().update(number).update(bytes).digest() | checksumFlag;
}

/** The database's checksum after one more page; begin with `checksumFlag`, the empty database's. */
export function addPageChecksum(checksum: bigint, pgno: number, bytes: Uint8Array): bigint {
  return (checksum ^ pageChecksum(pgno, bytes)) | checksumFlag;
}
