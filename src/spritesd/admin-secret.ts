import { statSync, readFileSync } from "node:fs";

const secretLengthMin = 16;
const secretSizeBytesMax = 4096;

/** The secret in the file, without the line's end. @throws Error that says what is wrong with the file */
export function readAdminSecret(path: string): string {
  const stat = statSync(path);
  if ((stat.mode & 0o077) !== 0) {
    throw new Error(`${path} holds the admin secret and others may read it: chmod 600 ${path}`);
  }
  if (stat.size > secretSizeBytesMax) {
    throw new Error(`${path} is larger than a secret: at most ${secretSizeBytesMax} bytes`);
  }
  const secret = readFileSync(path, "utf8").trim();
  if (secret.length < secretLengthMin || !/^[\u0021-\u007e]+$/.test(secret)) {
    throw new Error(
      `the secret in ${path} needs ${secretLengthMin} printable characters or more, without blanks; ` +
        "`openssl rand -hex 32` makes one",
    );
  }
  return secret;
}
