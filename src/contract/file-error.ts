/** Errors of the file API (contract.md section 7.7): the kernel's name, an HTTP status, the system's words. */

interface KnownError {
  status: number;
  text: string;
}

/** Python's client looks for some of these phrases, so each stands with its own code only. */
const knownErrors: Readonly<Record<string, KnownError>> = {
  ENOENT: { status: 404, text: "no such file or directory" },
  EEXIST: { status: 409, text: "file exists" },
  ENOTEMPTY: { status: 409, text: "directory not empty" },
  EBUSY: { status: 409, text: "device or resource busy" },
  ETXTBSY: { status: 409, text: "text file busy" },
  ENOTDIR: { status: 400, text: "not a directory" },
  EISDIR: { status: 400, text: "is a directory" },
  EINVAL: { status: 400, text: "invalid argument" },
  ENAMETOOLONG: { status: 400, text: "file name too long" },
  ELOOP: { status: 400, text: "too many levels of symbolic links" },
  EXDEV: { status: 400, text: "invalid cross-device link" },
  EMLINK: { status: 400, text: "too many links" },
  EOVERFLOW: { status: 400, text: "too many entries for one answer" },
  ERANGE: { status: 416, text: "no such range in the file" },
  EFBIG: { status: 413, text: "file too large" },
  EACCES: { status: 403, text: "permission denied" },
  EPERM: { status: 403, text: "operation not permitted" },
  EROFS: { status: 403, text: "read-only file system" },
  ENOSPC: { status: 507, text: "no space left on device" },
  EDQUOT: { status: 507, text: "disk quota exceeded" },
  EIO: { status: 500, text: "input/output error" },
};

/** An operation on a sprite's file that the kernel, or a rule of ours, refused. */
export class FileError extends Error {
  override readonly name = "FileError";
  /** As in errno(3); one that the table does not know is EIO. */
  readonly code: string;
  readonly status: number;
  readonly verb: string;
  readonly path: string;
  /** In the system's words, or in ours where these would not help. */
  readonly reason: string;
  /** In bytes, when the error is about a range of a file. */
  readonly sizeBytes: number | null;

  /** @param verb what was tried: "open", "rename" */
  constructor(
    code: string,
    what: { verb: string; path: string; reason?: string; sizeBytes?: number | null },
  ) {
    const known = knownErrors[code] ?? { status: 500, text: `input/output error (${code})` };
    const reason = what.reason ?? known.text;
    super(`${what.verb} ${what.path}: ${reason}`);
    this.code = knownErrors[code] === undefined ? "EIO" : code;
    this.status = known.status;
    this.verb = what.verb;
    this.path = what.path;
    this.reason = reason;
    this.sizeBytes = what.sizeBytes ?? null;
  }
}

export interface FileErrorBody {
  error: string;
  code: string;
  path: string;
}

export function fileErrorBody(error: FileError): FileErrorBody {
  return { error: error.message, code: error.code, path: error.path };
}
