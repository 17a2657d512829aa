import assert from "node:assert/strict";
import { test } from "node:test";

import type { NetworkRule } from "../../contract/policy.ts";
import { domainLists } from "./domain-lists.ts";
import { DomainRules } from "./domain-rules.ts";

const lists = {
  defaults: ["registry.example", "*.cdn.example"],
  resolvers: ["dns.resolver.example", "*.doh.example"],
};

function rules(...given: NetworkRule[]): DomainRules {
  return new DomainRules({ rules: given }, lists);
}
const allow = (domain: string): NetworkRule => ({ domain, action: "allow" });
const deny = (domain: string): NetworkRule => ({ domain, action: "deny" });
const action = (rule: DomainRules, name: string): string => rule.decide(name).action;

test("a name beats a suffix, a long suffix a short one, and anything beats `*`, in any order", () => {
  const given = [
    deny("*"),
    allow("*.example.com"),
    deny("*.internal.example.com"),
    allow("status.internal.example.com"),
    deny("evil.example.com"),
  ];
  for (const order of [given, given.toReversed()]) {
    const rule = rules(...order);
    assert.equal(action(rule, "a.example.com"), "allow");
    assert.equal(action(rule, "a.b.example.com"), "allow");
    assert.equal(action(rule, "evil.example.com"), "deny");
    assert.equal(action(rule, "x.internal.example.com"), "deny");
    assert.equal(action(rule, "status.internal.example.com"), "allow");
    assert.equal(action(rule, "other.org"), "deny");
  }
});

test("a wildcard is for what is below a domain, not for it nor for what only ends alike", () => {
  const rule = rules(allow("*.example.com"));
  assert.equal(action(rule, "example.com"), "deny");
  assert.equal(action(rule, "notexample.com"), "deny");
  assert.equal(action(rule, "example.com.evil.org"), "deny");
});

test("without a match, a list of what is allowed denies, and a list of what is denied allows", () => {
  assert.equal(action(rules(allow("a.example")), "b.example"), "deny");
  assert.equal(action(rules(deny("a.example")), "b.example"), "allow");
  assert.equal(action(rules({ include: "defaults" }), "b.example"), "deny");
});

test("of two rules for one domain the one that denies counts", () => {
  for (const order of [
    [allow("a.example"), deny("a.example")],
    [deny("a.example"), allow("a.example")],
  ]) {
    assert.equal(action(rules(...order), "a.example"), "deny");
  }
});

test("an included list gives way to what the owner wrote, but not to `*`", () => {
  const rule = rules({ include: "defaults" }, deny("*"), deny("*.cdn.example"));
  assert.equal(action(rule, "registry.example"), "allow");
  assert.equal(action(rule, "a.cdn.example"), "deny");
});

test("who resolves names for others is denied unless a rule names it", () => {
  assert.equal(action(rules(allow("*")), "dns.resolver.example"), "deny");
  assert.equal(action(rules(allow("*.resolver.example")), "dns.resolver.example"), "deny");
  assert.equal(action(rules(allow("*")), "x.doh.example"), "deny");
  assert.equal(action(rules(allow("dns.resolver.example")), "dns.resolver.example"), "allow");
});

test("says how much of a name a rule leaves open", () => {
  const rule = rules(allow("*.example.com"), allow("exact.org"));
  assert.equal(rule.decide("data.more.example.com").openLength, "data.more".length);
  assert.equal(rule.decide("exact.org").openLength, 0);
  assert.equal(rules(allow("*")).decide("data.org").openLength, "data.org".length);
});

test("a detour is forbidden to what a rule denies, not to what no rule allows", () => {
  const rule = rules(allow("www.example.com"), deny("*.tracker.example"));
  assert.equal(rule.isForbidden("a.tracker.example"), true);
  assert.equal(rule.isForbidden("edge.somewhere.example"), false);
  assert.equal(rule.isForbidden("dns.resolver.example"), true);
});

test("the server's own lists are well-formed, and none of them opens a way for everybody", () => {
  const { defaults, resolvers, resolverAddresses } = domainLists();
  assert.ok(defaults.length > 50 && resolvers.length > 20 && resolverAddresses.length > 20);
  assert.equal(new Set([...defaults, ...resolvers]).size, defaults.length + resolvers.length);
  const rule = new DomainRules({ rules: [{ include: "defaults" }] }, { defaults, resolvers });
  for (const name of ["registry.npmjs.org", "pypi.org", "github.com", "api.anthropic.com"]) {
    assert.equal(action(rule, name), "allow", name);
  }
  // Anybody can put a page or a bucket below these: an allowed list with them is none.
  const shared = [
    "x.github.io",
    "x.s3.amazonaws.com",
    "x.pages.dev",
    "x.vercel.app",
    "pastebin.com",
  ];
  for (const name of ["dns.google", "example.org", ...shared]) {
    assert.equal(action(rule, name), "deny", name);
  }
});
