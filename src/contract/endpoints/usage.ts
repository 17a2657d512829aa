/** What sprites have used. */
import { z } from "zod";
import { usageGroupings, type UsageObject } from "../usage.ts";
import { json, named, timeSchema, type Endpoint } from "./endpoint.ts";

const amounts = {
  running_seconds: z.number(),
  warm_seconds: z.number().describe("suspended, with its memory"),
  cpu_seconds: z.number().describe("processor time of its programs"),
  memory_byte_seconds: z.number().describe("memory times the time it was held, while running"),
  warm_memory_byte_seconds: z.number().describe("the same while warm"),
  storage_byte_seconds: z.number().describe("bytes in the bucket times the time they lay there"),
  egress_bytes: z.number(),
  bucket_write_requests: z.number().describe("put and list"),
  bucket_read_requests: z.number(),
  bucket_delete_requests: z.number(),
  bucket_written_bytes: z.number(),
  bucket_read_bytes: z.number(),
};

const usageSchema: z.ZodType<UsageObject> = named(
  "Usage",
  z.object({
    from: timeSchema,
    to: timeSchema,
    by: z.enum(usageGroupings),
    usage: z.array(
      z.object({
        sprite: z.string().exactOptional().describe("by=sprite; also of sprites that are gone"),
        sprite_id: z.string().exactOptional().describe("by=sprite"),
        label: z.string().nullable().exactOptional().describe("by=label; null: without any"),
        start: timeSchema.exactOptional().describe("by=day and by=hour, in UTC"),
        end: timeSchema.exactOptional(),
        ...amounts,
      }),
    ),
    total: z.object(amounts).describe("of everything that was asked for, whatever the page"),
    has_more: z.boolean(),
    next_continuation_token: z.string().nullable(),
  }),
);

const momentSchema = z.string().describe("a date or an RFC 3339 time, such as 2026-11-01");

export const usageEndpoints: readonly Endpoint[] = [
  {
    method: "GET",
    path: "/v1/usage",
    summary: "What the organization's sprites have used",
    text:
      "By sprite, by label (a sprite with two labels is in two rows), by day or by hour. Times are UTC. At most 400 days, " +
      "which is how long it is kept; by the hour the last 35. An hour that the range cuts counts by its share.",
    query: [
      { name: "from", text: "default: the beginning of this month", schema: momentSchema },
      { name: "to", text: "default: now", schema: momentSchema },
      { name: "by", text: "default: sprite", schema: z.enum(usageGroupings) },
      { name: "sprite", text: "only sprites of this name", schema: z.string() },
      {
        name: "label",
        text: "only sprites that had it; repeated: all of them",
        schema: z.string(),
        repeats: true,
      },
      { name: "format", text: "or `Accept: text/csv`", schema: z.enum(["json", "csv"]) },
      { name: "max_results", text: "rows of a page, at most 1000", schema: z.int() },
      { name: "continuation_token", text: "from the page before", schema: z.string() },
    ],
    answers: { 200: json(usageSchema) },
    errors: ["rate_limited"],
  },
];
