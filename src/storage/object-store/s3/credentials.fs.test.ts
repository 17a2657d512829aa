import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { CredentialSource } from "./credentials.ts";

const noMachine = { AWS_EC2_METADATA_DISABLED: "true", HOME: "/nonexistent" };

async function home(test: TestContext, text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "aws-"));
  test.after(() => rm(directory, { recursive: true, force: true }));
  await mkdir(join(directory, ".aws"));
  await writeFile(join(directory, ".aws/credentials"), text);
  return directory;
}

type Answer = (request: IncomingMessage) => string | null;

/** A metadata service on loopback; null answers 404. */
async function serve(test: TestContext, answer: Answer): Promise<string> {
  const server = createServer((request, response) => {
    const text = answer(request);
    response.writeHead(text === null ? 404 : 200).end(text ?? "");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  test.after(() => server.close());
  const address = server.address();
  return `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
}

describe("credentials", () => {
  it("come from the environment first", async () => {
    const source = new CredentialSource({
      ...noMachine,
      AWS_ACCESS_KEY_ID: "id",
      AWS_SECRET_ACCESS_KEY: "secret",
      AWS_SESSION_TOKEN: "token",
    });
    assert.deepEqual(await source.get(), {
      accessKeyId: "id",
      secretAccessKey: "secret",
      sessionToken: "token",
      expiresAtMs: null,
    });
  });

  it("come from the shared file, by profile", async (test) => {
    const directory = await home(
      test,
      `# keys\n[default]\naws_access_key_id = one\naws_secret_access_key=a/b=c#d+\n\n[ two ]\r\naws_access_key_id=2\r
aws_secret_access_key = two-secret\r\naws_session_token=t\n`,
    );
    const environment = { ...noMachine, HOME: directory };
    const first = await new CredentialSource(environment).get();
    assert.equal(first.secretAccessKey, "a/b=c#d+");
    const named = {
      ...environment,
      AWS_PROFILE: "two",
      AWS_ACCESS_KEY_ID: "x",
      AWS_SECRET_ACCESS_KEY: "y",
    };
    const second = await new CredentialSource(named).get();
    assert.equal(second.secretAccessKey, "two-secret");
    assert.equal(second.sessionToken, "t");
    await assert.rejects(new CredentialSource({ ...environment, AWS_PROFILE: "three" }).get(), {
      code: "storage_failure",
      message: /no keys for the profile three/,
    });
    await assert.rejects(new CredentialSource({ ...noMachine, AWS_PROFILE: "two" }).get(), {
      message: /AWS_PROFILE is set/,
    });
  });

  it("come from the container's agent, with its token", async (test) => {
    const url = await serve(test, (request) =>
      request.headers.authorization === "Bearer x"
        ? JSON.stringify({ AccessKeyId: "c", SecretAccessKey: "s", Token: "t" })
        : null,
    );
    const environment = { ...noMachine, AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/keys` };
    await assert.rejects(new CredentialSource(environment).get(), { code: "storage_failure" });
    const source = new CredentialSource({
      ...environment,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: "Bearer x",
    });
    assert.equal((await source.get()).accessKeyId, "c");
  });

  it("come from the machine by IMDSv2, and anew before they expire", async (test) => {
    let nowMs = Date.UTC(2026, 0, 1);
    let count = 0;
    const url = await serve(test, (request) => {
      if (request.method === "PUT") return request.url === "/latest/api/token" ? "session" : null;
      if (request.headers["x-aws-ec2-metadata-token"] !== "session") return null;
      if (request.url?.endsWith("/security-credentials/")) return "role\n";
      count++;
      const expiration = new Date(nowMs + 3_600_000).toISOString();
      return JSON.stringify({
        AccessKeyId: `m${count}`,
        SecretAccessKey: "s",
        Expiration: expiration,
      });
    });
    const environment = { HOME: "/nonexistent", AWS_EC2_METADATA_SERVICE_ENDPOINT: url };
    const source = new CredentialSource(environment, () => nowMs);
    const both = await Promise.all([source.get(), source.get()]);
    assert.deepEqual(
      both.map(({ accessKeyId }) => accessKeyId),
      ["m1", "m1"],
    );
    nowMs += 50 * 60_000;
    assert.equal((await source.get()).accessKeyId, "m1");
    nowMs += 6 * 60_000;
    assert.equal((await source.get()).accessKeyId, "m2");
    source.forget();
    assert.equal((await source.get()).accessKeyId, "m3");
  });

  it("are missed with a sentence that says what to do", async () => {
    await assert.rejects(new CredentialSource(noMachine).get(), {
      code: "storage_failure",
      message: /set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/,
    });
  });
});
