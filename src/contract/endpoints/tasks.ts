/** Tasks: the same from outside and on the socket inside (contract.md section 10.2). */
import { z } from "zod";

import { parseDuration } from "../duration.ts";
import { taskExpiryMsMax, taskNameLengthMax } from "../limits.ts";
import type { TaskListObject, TaskObject } from "../task.ts";
import { json, named, optional, startErrors, timeSchema, type Endpoint } from "./endpoint.ts";

const taskSchema: z.ZodType<TaskObject> = named(
  "Task",
  z.object({ name: z.string(), started_at: timeSchema, expires_at: timeSchema }),
);

const taskListSchema: z.ZodType<TaskListObject> = z.object({ tasks: z.array(taskSchema) });

const secondsMax = taskExpiryMsMax / 1000;
const expireSchema = z
  .union([z.int().min(1).max(secondsMax), z.string().refine(isTerm)])
  .nullish()
  .describe("whole seconds, or a duration such as 30m; at most an hour, which is also the default");

function isTerm(text: string): boolean {
  const durationMs = parseDuration(text);
  return durationMs !== null && durationMs >= 1 && durationMs <= taskExpiryMsMax;
}

const taskTermSchema = z.object({ expire: expireSchema });
const namedTaskSchema = z.object({
  name: z
    .string()
    .min(1)
    .max(taskNameLengthMax)
    .regex(/^(?!\.\.?$)[^\p{Cc}\p{Cs}]+$/u),
  expire: expireSchema,
});

const base = "/v1/sprites/{name}/tasks";
const one = `${base}/{task}`;
const example = { name: "build", expire: "30m" };

export const taskEndpoints: readonly Endpoint[] = [
  {
    method: "GET",
    path: base,
    summary: "What holds the sprite awake; does not wake it",
    inside: "too",
    answers: { 200: json(taskListSchema) },
  },
  {
    method: "POST",
    path: base,
    summary: "Hold the sprite awake for a while, under a name that is free",
    inside: "too",
    body: json(namedTaskSchema, example),
    answers: { 201: json(taskSchema) },
    errors: ["already_exists", "conflict", ...startErrors],
  },
  {
    method: "PUT",
    path: base,
    summary: "Start a task, or let a running one hold longer",
    inside: "too",
    body: json(namedTaskSchema, example),
    answers: { 200: json(taskSchema) },
    errors: ["conflict", ...startErrors],
  },
  {
    method: "GET",
    path: one,
    summary: "One task",
    inside: "too",
    answers: { 200: json(taskSchema) },
    errors: startErrors,
  },
  {
    method: "PUT",
    path: one,
    summary: "Start a task, or let a running one hold longer",
    inside: "too",
    body: optional(json(taskTermSchema, { expire: 3600 })),
    answers: { 200: json(taskSchema) },
    errors: ["conflict", ...startErrors],
  },
  {
    method: "DELETE",
    path: one,
    summary: "End a task",
    inside: "too",
    answers: { 204: null },
    errors: startErrors,
  },
];
