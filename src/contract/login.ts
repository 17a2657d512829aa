/** Logging in a command line: the JSON half of docs/capabilities/logging-in.md. */
import { z } from "zod";

import { loginClientLengthMax } from "./limits.ts";

/** Shown to the person who approves, and kept as the token's description. */
const clientSchema = z
  .string("client is a short text that says who asks")
  .max(loginClientLengthMax)
  .regex(/^[\u0020-\u007e]*$/, "client may have printable ASCII only")
  .default("an unnamed client");

export const deviceLoginSchema = z.object({ client: clientSchema });

export const deviceTokenSchema = z.object({
  device_code: z.string("device_code is the code that the login began with").max(200),
});

/** What `POST /login/device` answers (RFC 8628, section 3.2). */
export interface DeviceLoginObject {
  device_code: string;
  user_code: string;
  verification_uri: string;
  verification_uri_complete: string;
  /** Seconds. */
  expires_in: number;
  /** Seconds between two polls. */
  interval: number;
}

/** What `POST /login/device/token` answers once somebody has said yes. */
export interface DeviceTokenObject {
  token: string;
  token_type: "Bearer";
  organization: string;
}
