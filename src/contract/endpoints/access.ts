/** Tokens, and how a command line gets one. */
import { z } from "zod";

import {
  deviceLoginSchema,
  deviceTokenSchema,
  type DeviceLoginObject,
  type DeviceTokenObject,
} from "../login.ts";
import { tokenCreateSchema } from "../sprite.ts";
import { tokenRoles, type TokenListObject } from "../token.ts";
import { json, named, timeSchema, type Endpoint } from "./endpoint.ts";

const tokenListSchema: z.ZodType<TokenListObject> = named(
  "TokenList",
  z.object({
    organization: z.string(),
    tokens: z.array(
      z.object({
        id: z.string(),
        description: z.string(),
        role: z.enum(tokenRoles),
        created_at: timeSchema,
        last_used_at: timeSchema.nullable(),
        is_current: z.boolean().describe("the one that asks"),
      }),
    ),
  }),
);

const deviceLoginAnswerSchema: z.ZodType<DeviceLoginObject> = z.object({
  device_code: z.string(),
  user_code: z.string(),
  verification_uri: z.string(),
  verification_uri_complete: z.string(),
  expires_in: z.int().describe("seconds"),
  interval: z.int().describe("seconds between two polls"),
});

const deviceTokenAnswerSchema: z.ZodType<DeviceTokenObject> = z.object({
  token: z.string(),
  token_type: z.literal("Bearer"),
  organization: z.string(),
});

const tokens = "/v1/organizations/{org}/tokens";

export const accessEndpoints: readonly Endpoint[] = [
  {
    method: "POST",
    path: tokens,
    summary: "Make a token of an organization",
    text: "`Authorization: FlyV1 <admin secret>`.",
    auth: "admin",
    body: json(tokenCreateSchema, { description: "for CI" }),
    answers: { 201: json(z.object({ token: z.string() })) },
    errors: ["forbidden"],
  },
  {
    method: "GET",
    path: tokens,
    summary: "The organization's tokens, without their secrets",
    answers: { 200: json(tokenListSchema) },
  },
  {
    method: "DELETE",
    path: `${tokens}/{id}`,
    summary: "End a token; `current` is the caller's own",
    answers: { 204: null },
  },
  {
    method: "POST",
    path: "/login/device",
    summary: "Begin a login that a person approves at /login (RFC 8628)",
    auth: "none",
    body: json(deviceLoginSchema, { client: "sprite on laptop" }),
    answers: { 200: json(deviceLoginAnswerSchema) },
    errors: ["rate_limited"],
  },
  {
    method: "POST",
    path: "/login/device/token",
    summary: "Fetch the token once somebody has approved",
    text: "Until then 400 with `authorization_pending`, `slow_down`, `access_denied` or `expired_token`.",
    auth: "none",
    body: json(deviceTokenSchema, { device_code: "from POST /login/device" }),
    answers: { 200: json(deviceTokenAnswerSchema) },
    errors: ["rate_limited"],
  },
];
