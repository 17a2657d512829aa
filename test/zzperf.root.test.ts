import { after, before, test } from "node:test";
import http from "node:http";
import type { Sprite } from "@fly/sprites";
import { TestServer } from "./support/server.ts";
let server: TestServer; let sprite: Sprite;
before(async () => { server = await TestServer.start(); sprite = await server.client().createSprite("files"); });
after(async () => await server?.close());
const MB = 1024 * 1024;
function req(method: string, path: string, body?: { bytes: number }): Promise<{ status: number; bytes: number; ms: number }> {
  return new Promise((resolve, reject) => {
    const t = performance.now();
    const r = http.request(server.url + path, { method, headers: { authorization: `Bearer ${server.token}`, ...(body ? { "content-length": body.bytes } : {}) } }, (res) => {
      let n = 0; let k = 0; let txt = "";
      res.on("data", (c: Buffer) => { n += c.length; k++; if (res.statusCode !== 200) txt += c.toString(); });
      res.on("end", () => { if (n > MB) console.log("avg chunk", (n / k / 1024).toFixed(1), "KiB"); if (txt) console.log(txt); resolve({ status: res.statusCode ?? 0, bytes: n, ms: performance.now() - t }); });
      res.on("error", reject);
    });
    r.on("error", reject);
    if (!body) { r.end(); return; }
    const chunk = Buffer.alloc(256 * 1024, 7); let left = body.bytes;
    const go = () => { while (left > 0) { const n = Math.min(left, chunk.length); left -= n; if (!r.write(n === chunk.length ? chunk : chunk.subarray(0, n))) { r.once("drain", go); return; } } r.end(); };
    go();
  });
}
import { readdirSync, readFileSync } from "node:fs";
import { spawn } from "node:child_process";
function times(): Map<string, number> {
  const m = new Map<string, number>();
  for (const pid of readdirSync("/proc").filter((n) => /^\d+$/.test(n))) {
    try {
      const cmd = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      const st = readFileSync(`/proc/${pid}/stat`, "utf8"); const f = st.slice(st.lastIndexOf(")") + 2).split(" ");
      const t = (Number(f[11]) + Number(f[12])) * 10;
      const name = cmd.includes("file-helper") ? "helper" : cmd.includes("/agent/main") ? "agent" : cmd.includes("spritesd") ? "control" : cmd.includes("zzperf") ? "client" : cmd.includes("http.server") ? "py" : "";
      if (name) m.set(name, (m.get(name) ?? 0) + t);
    } catch {}
  }
  return m;
}
let base = times();
function cpu(mb: number): string {
  const now = times(); const out = [...now].map(([k, v]) => `${k} ${((v - (base.get(k) ?? 0)) / mb).toFixed(2)}`).join(" "); base = now; return "cpu ms/MB: " + out;
}
test("perf", async () => {
  await sprite.execFile("true", []);
  const q = (p: string) => `?path=${encodeURIComponent(p)}`;
  for (const p of ["/home/sprite/x", "/dev/shm/x"]) await req("PUT", `/v1/sprites/files/fs/write${q(p)}`, { bytes: 5 });
  for (let i = 0; i < 5; i++) { const a = await req("PUT", `/v1/sprites/files/fs/write${q("/home/sprite/x")}`, { bytes: 5 }); const b = await req("GET", `/v1/sprites/files/fs/read${q("/home/sprite/x")}`); const c = await req("GET", `/v1/sprites/files/fs/list${q("/home/sprite")}`); console.log("small w", a.ms.toFixed(1), "r", b.ms.toFixed(1), "l", c.ms.toFixed(1)); }
  { const py = spawn("python3", ["-m", "http.server", "8899", "--bind", "127.0.0.1", "--directory", "/tmp/files-proto"], { stdio: "ignore" });
    await new Promise((r) => setTimeout(r, 1500)); base = times();
    for (let i = 0; i < 3; i++) { const t = performance.now(); let n = 0; await new Promise<void>((res, rej) => http.get("http://127.0.0.1:8899/big", (r) => { r.on("data", (c: Buffer) => (n += c.length)); r.on("end", () => res()); }).on("error", rej)); console.log("python", (n / MB / (performance.now() - t) * 1000).toFixed(0), cpu(n / MB)); }
    py.kill(); }
  for (const dir of ["/home/sprite", "/dev/shm"]) {
    const size = dir === "/dev/shm" ? 48 * MB : 512 * MB;
    for (let i = 0; i < 2; i++) {
      cpu(1);
      const w = await req("PUT", `/v1/sprites/files/fs/write${q(dir + "/big")}`, { bytes: size });
      console.log("w", cpu(size / MB));
      const r = await req("GET", `/v1/sprites/files/fs/read${q(dir + "/big")}`);
      console.log("r", cpu(size / MB));
      const r2 = await req("GET", `/v1/sprites/files/fs/read${q(dir + "/big")}`);
      console.log(dir, w.status, "write", (size / MB / w.ms * 1000).toFixed(0), "MB/s read", (r.bytes / MB / r.ms * 1000).toFixed(0), (r2.bytes / MB / r2.ms * 1000).toFixed(0));
    }
  }
});
