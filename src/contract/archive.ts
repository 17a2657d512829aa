/** A sprite in one file, as far as clients look into it (docs/formats/archive.md). */

export const archiveContentType = "application/vnd.opensprites.archive";
export const archiveMagic = "OSARCH01";

/** The name that the archive's sprite had, by the archive's first bytes; null when they are none's. */
export function readArchivedName(start: Uint8Array): string | null {
  const bytes = Buffer.from(start.buffer, start.byteOffset, start.byteLength);
  if (bytes.length < 12 || bytes.toString("latin1", 0, 8) !== archiveMagic) return null;
  const contentAt = 12 + bytes.readUInt32LE(8);
  try {
    const header = JSON.parse(bytes.toString("utf8", 12, contentAt)) as Record<string, unknown>;
    if (header["kind"] !== "sprite" || header["codec"] !== "none") return null;
    const contentEnd = contentAt + Number(header["storedBytes"]);
    const sprite = JSON.parse(bytes.toString("utf8", contentAt, contentEnd)) as { name?: unknown };
    return typeof sprite.name === "string" ? sprite.name : null;
  } catch {
    return null;
  }
}
