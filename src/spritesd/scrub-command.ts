/** `spritesd scrub`: reads what a bucket holds again, and says what of it is damaged. */
import { InvalidArgumentError, type Command } from "commander";
import { SpriteError } from "../contract/errors.ts";
import { scrubBucket } from "../storage/audit/scrubber.ts";
import type { Damage } from "../storage/audit/scrub-volume.ts";
import { systemClock } from "../storage/lease/clock.ts";
import { openExisting } from "./database-commands.ts";
import { parseRate } from "./options.ts";

interface Values {
  bucket: string;
  volume?: string;
  rate?: number;
  resume?: string;
}

/** @param write what the command prints goes there */
export function addScrubCommand(program: Command, write: (text: string) => void): void {
  program
    .command("scrub")
    .description(
      "read every object of the bucket again and verify it; fails when any is damaged or missing",
    )
    .requiredOption("--bucket <url>", "the object store", process.env["SPRITES_BUCKET"])
    .option("--volume <prefix>", "only this volume, such as sprites/4f1c...", parseVolume)
    .option("--rate <size>", "read so much a second at most", parseRate)
    .option("--resume <file>", "keep the position there, and go on from it")
    .action(async ({ bucket, volume, rate = Infinity, resume }: Values) => {
      const store = await openExisting(bucket);
      const { damages, readBytes } = await scrubBucket({
        ...{ store, rateBytes: rate, positionPath: resume ?? null, volume: volume ?? null },
        ...{ clock: systemClock, onDamage: (damage) => write(damageText(damage)) },
      });
      write(`read ${readBytes} bytes, found ${damages.length} damages\n`);
      if (damages.length === 0) return;
      throw new SpriteError("storage_failure", `scrub found ${damages.length} damages`);
    });
}

function damageText({ volume, key, reason, files, places }: Damage): string {
  const lines = [`${volume}  DAMAGED  ${key}: ${reason}`];
  if (files.length > 0) lines.push(`  in ${files.join(", ")}: ${places.join(" ")}`);
  return `${lines.join("\n")}\n`;
}

export function parseVolume(text: string): string {
  if (/^(?:sprites|images)\/[^/]+$/.test(text)) return text;
  throw new InvalidArgumentError("give a prefix such as sprites/4f1c...");
}
