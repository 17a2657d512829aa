import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Command } from "commander";

import { addCaCommand } from "./ca-command.ts";

test("ca prints the authority that a server of the same data shows, or its fingerprint", async (t) => {
  const data = mkdtempSync(join(tmpdir(), "ca-command-"));
  t.after(() => rmSync(data, { recursive: true, force: true }));
  let output = "";
  const run = async (...options: string[]): Promise<string> => {
    output = "";
    const program = new Command("spritesd").exitOverride();
    addCaCommand(program, (text) => (output += text));
    await program.parseAsync(["ca", "--data", data, ...options], { from: "user" });
    return output;
  };
  const certificate = new X509Certificate(await run("--url-domain", "sprites.example"));
  assert.equal(certificate.subject, "O=OpenSprites\nCN=OpenSprites sprites.example");
  const fingerprint = await run("--url-domain", "sprites.example", "--fingerprint");
  assert.equal(fingerprint, `${certificate.fingerprint256}\n`);
});
