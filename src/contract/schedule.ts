/** When a sprite is woken by itself: a cron expression, in UTC, or one moment, or both. */
import { z } from "zod";
import { cronLengthMax } from "./limits.ts";
import { formatOptionalTimestamp } from "./timestamp.ts";

export interface Schedule {
  cron: string | null;
  atMs: number | null;
}

export interface ScheduleObject {
  cron: string | null;
  at: string | null;
  /** When it is woken next; null: not again. */
  next_at: string | null;
}

type Field = ReadonlySet<number>;

interface Cron {
  minutes: Field;
  hours: Field;
  days: Field;
  months: Field;
  weekdays: Field;
  /** As cron has it: when both are restricted, one of them is enough. */
  isEitherDay: boolean;
}

const minuteMs = 60_000;
/** The 29th of February comes again within eight years. */
const lookAheadDaysMax = 8 * 366 + 1;

/** Null when the text is no cron expression of five fields: minute, hour, day of the month, month, day of the week. */
export function parseCron(text: string): Cron | null {
  const fields = text.trim().split(/\s+/);
  if (text.length > cronLengthMax || fields.length !== 5) return null;
  const [minute = "", hour = "", day = "", month = "", weekday = ""] = fields;
  const minutes = parseField(minute, 0, 59);
  const hours = parseField(hour, 0, 23);
  const days = parseField(day, 1, 31);
  const months = parseField(month, 1, 12);
  const weekdays = parseField(weekday, 0, 7);
  if (!minutes || !hours || !days || !months || !weekdays) return null;
  const isEitherDay = !day.startsWith("*") && !weekday.startsWith("*");
  // Sunday is 0, and 7.
  const fromSunday = new Set([...weekdays].map((number) => number % 7));
  return { minutes, hours, days, months, weekdays: fromSunday, isEitherDay };
}

/** `*`, `5`, `1-5`, with `/step` perhaps, and several with commas. */
function parseField(text: string, min: number, max: number): Field | null {
  const numbers = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:\/(\d{1,2}))?$/.exec(part);
    if (match === null) return null;
    const [, first, last, step] = match;
    const from = first === undefined ? min : Number(first);
    const isOpen = first === undefined || (last === undefined && step !== undefined);
    const to = isOpen ? max : Number(last ?? first);
    const by = Number(step ?? 1);
    if (from < min || to > max || from > to || by < 1) return null;
    for (let number = from; number <= to; number += by) numbers.add(number);
  }
  return numbers;
}

/** The first minute after that time; null when there is none, as for the 31st of February. */
export function nextOfCron(cron: Cron, afterMs: number): number | null {
  const start = new Date(Math.floor(afterMs / minuteMs) * minuteMs + minuteMs);
  const dayStart = Date.UTC(start.getUTCFullYear(), start.getUTCMonth(), start.getUTCDate());
  for (let count = 0; count < lookAheadDaysMax; count += 1) {
    const day = new Date(dayStart + count * 24 * 60 * minuteMs);
    if (!isDay(cron, day)) continue;
    for (let minute = 0; minute < 24 * 60; minute += 1) {
      const timeMs = day.getTime() + minute * minuteMs;
      if (timeMs < start.getTime()) continue;
      if (cron.hours.has(Math.floor(minute / 60)) && cron.minutes.has(minute % 60)) return timeMs;
    }
  }
  return null;
}

function isDay({ days, months, weekdays, isEitherDay }: Cron, day: Date): boolean {
  if (!months.has(day.getUTCMonth() + 1)) return false;
  const isOfMonth = days.has(day.getUTCDate());
  const isOfWeek = weekdays.has(day.getUTCDay());
  return isEitherDay ? isOfMonth || isOfWeek : isOfMonth && isOfWeek;
}

/** When such a schedule wakes next, after that time; null: not again. */
export function nextOfSchedule({ cron, atMs }: Schedule, afterMs: number): number | null {
  const parsed = cron === null ? null : parseCron(cron);
  const times = [
    ...(atMs !== null && atMs > afterMs ? [atMs] : []),
    ...(parsed === null ? [] : [nextOfCron(parsed, afterMs)]),
  ].filter((time) => time !== null);
  return times.length === 0 ? null : Math.min(...times);
}

export function scheduleObject(schedule: Schedule & { nextMs: number | null }): ScheduleObject {
  const { cron, atMs, nextMs } = schedule;
  return { cron, at: formatOptionalTimestamp(atMs), next_at: formatOptionalTimestamp(nextMs) };
}

const cronSchema = z
  .string("expected a string")
  .refine((text) => parseCron(text) !== null, "expected five fields, such as 0 6 * * 1-5 (UTC)");

const atSchema = z
  .string("expected a string")
  .refine((text) => /^\d{4}-\d{2}-\d{2}T/.test(text) && !Number.isNaN(Date.parse(text)), {
    message: "expected a time, such as 2027-01-31T06:00:00Z",
  });

export const scheduleSchema: z.ZodType<Schedule> = z
  .object({ cron: cronSchema.nullish(), at: atSchema.nullish() }, "expected a JSON object")
  .transform(({ cron, at }, context) => {
    const atMs = typeof at === "string" ? Date.parse(at) : null;
    const schedule = { cron: cron ?? null, atMs };
    if (nextOfSchedule(schedule, Date.now()) !== null) return schedule;
    const message = "expected cron or at, with a time that is still to come";
    context.issues.push({ code: "custom", message, input: at });
    return z.NEVER;
  });
