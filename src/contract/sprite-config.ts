/**
 * The parts of a sprite that its creator sets: configuration, environment, labels, URL settings
 * (contract.md section 2).
 */

import { z } from "zod";

import {
  environmentEntriesMax,
  environmentEntrySizeBytesMax,
  environmentKeyLengthMax,
  environmentSizeBytesMax,
  labelLengthMax,
  labelsMax,
  regionLengthMax,
} from "./limits.ts";

/** Kept and shown as it was asked for; resources are fixed by the server. */
export interface SpriteConfig {
  ram_mb?: number;
  cpus?: number;
  region?: string;
  storage_gb?: number;
}

export interface UrlSettings {
  auth: "sprite" | "public";
  private_access?: "admins" | "org_users";
}

export type UrlSettingsChange = Partial<UrlSettings>;

export const urlSettingsDefault: UrlSettings = { auth: "sprite", private_access: "org_users" };

/** Go decodes these into ints: a fraction would fail its whole decode. */
const countSchema = z
  .int("expected a whole number")
  .min(0, "expected a number of at least 0")
  .nullish();

/** Both spellings: older JavaScript clients send camelCase keys. */
export const configSchema: z.ZodType<SpriteConfig> = z
  .object(
    {
      ram_mb: countSchema,
      ramMB: countSchema,
      cpus: countSchema,
      region: z.string("expected a string").max(regionLengthMax, "too long").nullish(),
      storage_gb: countSchema,
      storageGB: countSchema,
    },
    "expected an object",
  )
  .transform((body) => {
    const ramMb = body.ram_mb ?? body.ramMB;
    const storageGb = body.storage_gb ?? body.storageGB;
    const { cpus, region } = body;
    return {
      ...(typeof ramMb === "number" ? { ram_mb: ramMb } : {}),
      ...(typeof cpus === "number" ? { cpus } : {}),
      ...(typeof region === "string" ? { region } : {}),
      ...(typeof storageGb === "number" ? { storage_gb: storageGb } : {}),
    };
  });

/** Keys go to processes verbatim, so only what the kernel or a shell could not carry is refused. */
function environmentProblem(value: unknown): string | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return "expected an object of strings";
  }
  const entries = Object.entries(value);
  if (entries.length > environmentEntriesMax) return `at most ${environmentEntriesMax} variables`;
  let sizeBytes = 0;
  for (const [key, text] of entries) {
    if (typeof text !== "string") return "expected every value to be a string";
    if (key === "" || key.length > environmentKeyLengthMax || /[=\0]/.test(key)) {
      return `expected names of 1 to ${environmentKeyLengthMax} characters without = or NUL`;
    }
    if (text.includes("\0")) return "expected values without NUL";
    const entrySizeBytes = Buffer.byteLength(key) + 1 + Buffer.byteLength(text);
    if (entrySizeBytes > environmentEntrySizeBytesMax) {
      return `at most ${environmentEntrySizeBytesMax} bytes for one variable`;
    }
    sizeBytes += entrySizeBytes;
  }
  return sizeBytes > environmentSizeBytesMax ? `at most ${environmentSizeBytesMax} bytes` : null;
}

/** Object.fromEntries defines own properties, so that a variable called `__proto__` is only a variable. */
export const environmentSchema: z.ZodType<Record<string, string>> = z
  .unknown()
  // For the document: the check below is by hand.
  .meta({ type: "object", additionalProperties: { type: "string" } })
  .transform((value, context) => {
    const problem = environmentProblem(value);
    if (problem === null) return Object.fromEntries(Object.entries(value as object));
    context.issues.push({ code: "custom", message: problem, input: value });
    return z.NEVER;
  });

const labelSchema = z
  .string("expected a string")
  .min(1, "expected at least one character")
  .max(labelLengthMax, `at most ${labelLengthMax} characters`)
  .regex(/^\P{Cc}*$/u, "expected no control characters");

/** A set: repeated labels count once, the order stays. */
export const labelsSchema: z.ZodType<string[]> = z
  .array(labelSchema, "expected an array of strings")
  .max(labelsMax, `at most ${labelsMax} labels`)
  .transform((labels) => [...new Set(labels)]);

export const urlSettingsSchema: z.ZodType<UrlSettingsChange> = z
  .object(
    {
      auth: z.enum(["sprite", "public"], "expected sprite or public").nullish(),
      private_access: z.enum(["admins", "org_users"], "expected admins or org_users").nullish(),
    },
    "expected an object",
  )
  .transform(({ auth, private_access }) => ({
    ...(typeof auth === "string" ? { auth } : {}),
    ...(typeof private_access === "string" ? { private_access } : {}),
  }));

/** A change may hold only one of the keys; the other one stays. */
export function mergeUrlSettings(current: UrlSettings, change: UrlSettingsChange): UrlSettings {
  return { ...current, ...change };
}
