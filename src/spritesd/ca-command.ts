/** `spritesd ca`: the certificate of this server's own authority, for whoever sets up its clients. */
import { X509Certificate } from "node:crypto";
import { mkdir } from "node:fs/promises";

import type { Command } from "commander";

import { certificatesDirectory } from "../edge/certificates/places.ts";
import { dataDirectoryDefault } from "./options.ts";

interface Values {
  data: string;
  urlDomain: string;
  fingerprint?: boolean;
}

/** @param write what the command prints goes there */
export function addCaCommand(program: Command, write: (text: string) => void): void {
  program
    .command("ca")
    .description(
      "print the certificate of the server's own authority, which is made if there is none",
    )
    .option(
      "--data <dir>",
      "the server's data directory",
      process.env["SPRITES_DATA"] ?? dataDirectoryDefault,
    )
    .option(
      "--url-domain <domain>",
      "domain of the sprites' own URLs",
      process.env["SPRITES_URL_DOMAIN"] ?? "sprites.localhost",
    )
    .option("--fingerprint", "print its SHA-256 instead, for `sprite trust --fingerprint`")
    .action(async ({ data, urlDomain, fingerprint }: Values) => {
      const { Authority } = await import("../edge/certificates/authority.ts");
      const directory = certificatesDirectory(data);
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const { certificatePem } = await Authority.open({ directory, domain: urlDomain });
      if (fingerprint !== true) return write(certificatePem);
      write(`${new X509Certificate(certificatePem).fingerprint256}\n`);
    });
}
