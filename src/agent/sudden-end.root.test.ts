import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { must } from "../base/assert.ts";
import { settlesWithin } from "../base/wait.ts";
import type { AgentStartup } from "../contract/agent-startup.ts";
import { abortFuseConnections } from "../host/fuse-connections.ts";

const readyTimeoutMs = 60_000;
const endTimeoutMs = 20_000;

test("an agent that is killed as the last to see its disk does not wait for itself", async () => {
  const directory = await mkdtemp(join(tmpdir(), "opensprites-sudden-"));
  await mkdir(join(directory, "bucket"));
  const agent = startAgent(directory);
  const ended = once(agent, "exit");
  let connections: number[] = [];
  try {
    const ready = once(must(agent.stdout, "the output is a pipe"), "data");
    assert.ok(await settlesWithin(Promise.race([ready, ended]), readyTimeoutMs));
    assert.equal(agent.exitCode, null, "it serves its disk");
    connections = await fuseConnections(agent.pid ?? 0);
    assert.equal(connections.length, 1);
    agent.kill("SIGKILL");
    assert.ok(await settlesWithin(ended, endTimeoutMs), "the kernel is done with it");
  } finally {
    agent.kill("SIGKILL");
    if (agent.signalCode === null) await abortFuseConnections(connections);
    await ended;
    await rm(directory, { recursive: true, force: true });
  }
});

function startAgent(directory: string): ChildProcess {
  // What has to do with the container is not used.
  const startup: Partial<AgentStartup> = {
    ...{ spriteId: "test", serverId: "server", durability: "local", isStillOurs: false },
    bucket: join(directory, "bucket"),
    cacheDirectory: join(directory, "cache"),
    cacheSizeBytesMax: 2 ** 30,
    runDirectory: directory,
    diskSizeBytes: 2 ** 28,
    descriptors: [],
  };
  const program = join(import.meta.dirname, "testing/lonely-agent.ts");
  const command = ["--mount", "--propagation", "private", "--", process.execPath, program];
  return spawn("unshare", [...command, JSON.stringify(startup)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function fuseConnections(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/mountinfo`, "utf8");
  return [...text.matchAll(/ 0:(\d+) \S+ \S+\/opensprites-sudden-\S+ .* - fuse /g)].map((match) =>
    Number(match[1]),
  );
}
