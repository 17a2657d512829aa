/** A sprite's schedule over HTTP: `/v1/sprites/{name}/schedule`. Wakes nobody before its time. */
import { nextOfSchedule, scheduleObject, scheduleSchema } from "../../contract/schedule.ts";
import { validate } from "../../contract/validate.ts";
import type { ApiRequest, ApiResult } from "../api.ts";
import type { Sprites } from "../sprites.ts";

const none = { cron: null, atMs: null, nextMs: null };

/** @throws SpriteError not_found, invalid_request */
export async function handleSchedule(
  sprites: Sprites,
  request: Omit<ApiRequest, "route" | "query"> & { name: string },
): Promise<ApiResult> {
  const { organization, name, method } = request;
  const { id } = sprites.find(organization, name);
  const { schedules } = organization;
  if (method === "DELETE") {
    schedules.delete(id);
    return { status: 204, body: null };
  }
  if (method === "PUT") {
    const schedule = validate(scheduleSchema, await request.readBody());
    // It may have been deleted while the body came.
    sprites.find(organization, name);
    schedules.set(id, { ...schedule, nextMs: nextOfSchedule(schedule, Date.now()) });
  }
  return { status: 200, body: scheduleObject(schedules.get(id) ?? none) };
}
