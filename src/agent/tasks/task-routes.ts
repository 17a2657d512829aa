import {
  parseNamedTask,
  parseTaskName,
  parseTaskTerm,
  taskObject,
  type TaskListObject,
} from "../../contract/task.ts";
import { readJson, sendJson, sendNoContent } from "../api/responses.ts";
import type { RequestContext, Route } from "../api/route.ts";
import type { Tasks } from "./tasks.ts";

/** The endpoints of contract.md section 10.2. */
export function taskRoutes(tasks: Tasks): Route[] {
  const one = ["tasks", ":task"] as const;
  return [
    { method: "GET", pattern: ["tasks"], isQuiet: true, handle: (context) => list(tasks, context) },
    { method: "POST", pattern: ["tasks"], handle: (context) => start(tasks, context) },
    { method: "PUT", pattern: ["tasks"], handle: (context) => refreshNamed(tasks, context) },
    { method: "GET", pattern: one, isQuiet: true, handle: (context) => get(tasks, context) },
    { method: "PUT", pattern: one, handle: (context) => refresh(tasks, context) },
    { method: "DELETE", pattern: one, handle: (context) => end(tasks, context) },
  ];
}

function list(tasks: Tasks, { response }: RequestContext): void {
  const body: TaskListObject = { tasks: tasks.list().map(taskObject) };
  sendJson(response, 200, body);
}

function get(tasks: Tasks, { params, response }: RequestContext): void {
  sendJson(response, 200, taskObject(tasks.get(params["task"] ?? "")));
}

async function start(tasks: Tasks, { request, response }: RequestContext): Promise<void> {
  const { name, expiryMs } = parseNamedTask(await readJson(request));
  sendJson(response, 201, taskObject(tasks.start(name, expiryMs)));
}

async function refreshNamed(tasks: Tasks, { request, response }: RequestContext): Promise<void> {
  const { name, expiryMs } = parseNamedTask(await readJson(request));
  sendJson(response, 200, taskObject(tasks.refresh(name, expiryMs)));
}

async function refresh(tasks: Tasks, { params, request, response }: RequestContext): Promise<void> {
  const name = parseTaskName(params["task"]);
  const { expiryMs } = parseTaskTerm(await readJson(request));
  sendJson(response, 200, taskObject(tasks.refresh(name, expiryMs)));
}

function end(tasks: Tasks, { params, response }: RequestContext): void {
  tasks.end(params["task"] ?? "");
  sendNoContent(response);
}
