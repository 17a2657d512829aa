import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetworkRule } from "../contract/policy.ts";
import { judgeName } from "./network-rules.ts";

const allow = (domain: string): NetworkRule => ({ domain, action: "allow" });
const deny = (domain: string): NetworkRule => ({ domain, action: "deny" });

test("the most exact rule is the one that is named", () => {
  const rules = [
    deny("*"),
    allow("*.example.com"),
    deny("*.in.example.com"),
    allow("a.in.example.com"),
  ];
  const action = (name: string): unknown => judgeName(rules, name).action;
  assert.equal(action("a.in.example.com"), "allow");
  assert.equal(action("b.in.example.com"), "deny");
  assert.equal(action("x.y.example.com"), "allow");
  assert.equal(action("example.com"), "deny");
  assert.match(judgeName(rules, "b.in.example.com").reason, /\*\.in\.example\.com/);
});

test("what no rule names depends on the others", () => {
  assert.equal(judgeName([], "a.org").action, "allow");
  assert.equal(judgeName([deny("b.org")], "a.org").action, "allow");
  assert.equal(judgeName([allow("b.org")], "a.org").action, "deny");
  assert.equal(judgeName([{ include: "defaults" }], "a.org").action, null);
  assert.equal(judgeName([allow("b.org"), deny("B.org")], "b.org").action, "deny");
});
