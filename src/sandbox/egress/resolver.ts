/**
 * What becomes of a sprite's DNS question. A sprite without a policy is answered byte for byte by the
 * resolver above. For one with a policy, names that it must not reach are refused here and never
 * leave; of the others the addresses are opened in the kernel before they are told.
 */
import { randomInt } from "node:crypto";

import type { Log } from "../../base/log.ts";
import type { NetworkPolicy } from "../../contract/policy.ts";
import { AddressBook } from "./address-book.ts";
import { AddressFilter } from "./blocked-ranges.ts";
import {
  buildAnswer,
  buildError,
  buildQuestion,
  followAliases,
  isInternet,
  parseAnswer,
  parseQuestion,
  recordType,
  responseCode,
  type AddressRecord,
  type DnsAnswer,
  type DnsQuestion,
} from "./dns-message.ts";
import type { domainLists } from "./domain-lists.ts";
import { DomainRules } from "./domain-rules.ts";
import { KernelChanges } from "./kernel-changes.ts";
import {
  addressesPerAnswerMax,
  changesPerSpriteMax,
  changesPerSpritePerSecond,
  openSecondsMin,
  toldTtlSecondsMax,
  waitingMax,
  waitingPerSpriteMax,
} from "./limits.ts";
import { NameBudget } from "./name-budget.ts";
import { RateBudget } from "./rate-budget.ts";
import {
  closeAddress,
  openAddress,
  openPort,
  restrictedPort,
  restrictedPortAgain,
  type GatewayPort,
} from "./policy-rules.ts";
import { askTcp, askUdp, type ResolverTarget } from "./upstream.ts";

export interface ResolverOptions {
  /** Null where there is none: then no name resolves. */
  upstream: ResolverTarget | null;
  lists: ReturnType<typeof domainLists>;
  applyRules: (text: string) => Promise<void>;
  nowMs: () => number;
  log: Log;
}

interface PortState {
  spriteId: string;
  port: GatewayPort;
  /** Null: no policy. */
  rules: DomainRules | null;
  book: AddressBook;
  budget: NameBudget;
  changeBudget: RateBudget;
  waiting: number;
  /** The last change of its rules or sets that was asked for. */
  changed: Promise<void>;
}

export type Transport = "udp" | "tcp";

/** Answers that need no look at them: none has an address that a client connects to by itself. */
const passedTypes: ReadonlySet<number> = new Set([
  recordType.ns,
  recordType.cname,
  recordType.soa,
  recordType.ptr,
  recordType.mx,
  recordType.txt,
  recordType.srv,
  recordType.caa,
]);
/** There is no IPv6 inside, and no hint is needed beside the addresses themselves. */
const emptyTypes: ReadonlySet<number> = new Set([
  recordType.aaaa,
  recordType.https,
  recordType.svcb,
]);

const messageBytesMax = 65_535;

export class Resolver {
  readonly #options: ResolverOptions;
  readonly #filter: AddressFilter;
  readonly #changes: KernelChanges;
  readonly #ports = new Map<string, PortState>();
  /** Indexes that have rules in the kernel. */
  readonly #restricted = new Set<number>();
  #waiting = 0;

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#filter = new AddressFilter(options.lists.resolverAddresses);
    this.#changes = new KernelChanges(options.applyRules);
  }

  /**
   * Makes a policy hold for the sprite at that port. `again`: it held already, and the resolver that
   * knew of it is gone. @throws HostError: what held before holds on
   */
  async setPolicy(
    port: GatewayPort,
    to: { spriteId: string; policy: NetworkPolicy; again: boolean },
  ): Promise<void> {
    const state = this.#stateOf(port, to.spriteId);
    const before = state.rules;
    const { lists } = this.#options;
    const rules = to.policy.rules.length === 0 ? null : new DomainRules(to.policy, lists);
    state.rules = rules;
    try {
      if (rules !== null) await this.#restrict(state, rules, to.again);
      else if (this.#restricted.has(port.index) || to.again) await this.#lift(state);
    } catch (error) {
      if (state.rules === rules) state.rules = before;
      throw error;
    }
  }

  /** Its sprite is gone. */
  async forget(port: GatewayPort): Promise<void> {
    this.#ports.delete(port.address);
    if (!this.#restricted.delete(port.index)) return;
    await this.#changes.make(openPort(port));
  }

  /** Null: no answer at all. */
  async answer(from: string, message: Buffer, transport: Transport): Promise<Buffer | null> {
    const state = this.#ports.get(from);
    const { upstream } = this.#options;
    const isFull = this.#waiting >= waitingMax || (state?.waiting ?? 0) >= waitingPerSpriteMax;
    if (state === undefined || upstream === null || isFull) {
      return failure(message, responseCode.refused);
    }
    state.waiting += 1;
    this.#waiting += 1;
    try {
      return state.rules === null
        ? await this.#pass(state, message, { upstream, transport })
        : await this.#answerByRules(state, message, { upstream, transport });
    } finally {
      state.waiting -= 1;
      this.#waiting -= 1;
    }
  }

  #stateOf(port: GatewayPort, spriteId: string): PortState {
    const found = this.#ports.get(port.address);
    if (found !== undefined && found.spriteId === spriteId) return found;
    const nowMs = this.#options.nowMs();
    const state: PortState = {
      spriteId,
      port,
      rules: null,
      book: new AddressBook(),
      budget: new NameBudget(nowMs),
      changeBudget: new RateBudget({
        max: changesPerSpriteMax,
        perSecond: changesPerSpritePerSecond,
        nowMs,
      }),
      waiting: 0,
      changed: Promise.resolve(),
    };
    this.#ports.set(port.address, state);
    return state;
  }

  async #restrict(state: PortState, rules: DomainRules, again: boolean): Promise<void> {
    const { port, book } = state;
    const nowMs = this.#options.nowMs();
    const left = book.narrow((names) => isAllowed(rules, names));
    const seconds = new Map(
      [...left].map(([address, untilMs]) => [address, (untilMs - nowMs) / 1000]),
    );
    this.#restricted.add(port.index);
    await this.#change(state, again ? restrictedPortAgain(port) : restrictedPort(port, seconds));
  }

  async #lift(state: PortState): Promise<void> {
    await this.#change(state, openPort(state.port));
    this.#restricted.delete(state.port.index);
  }

  async #change(state: PortState, text: string): Promise<void> {
    const made = this.#changes.make(text);
    state.changed = made;
    // Also told to whoever waits for it.
    made.catch(() => undefined);
    await made;
  }

  async #pass(
    state: PortState,
    message: Buffer,
    { upstream, transport }: { upstream: ResolverTarget; transport: Transport },
  ): Promise<Buffer | null> {
    const question = parseQuestion(message);
    const isAnswer = (answer: Buffer): boolean =>
      answer.length >= 2 &&
      message.length >= 2 &&
      answer.readUInt16BE(0) === message.readUInt16BE(0);
    const answer =
      transport === "udp"
        ? await askUdp(upstream, message, isAnswer)
        : await askTcp(upstream, message);
    if (answer === null) return failure(message, responseCode.serverFailure);
    // Remembered, so that a policy to come does not end what it allows.
    if (question !== null && question.name !== null && question.type === recordType.a) {
      const asked = { name: question.name, type: recordType.a };
      const parsed = parseAnswer(answer, asked);
      if (parsed !== null) {
        const told = this.#tell(state, question.name, parsed);
        // One may have come while this question was under way.
        if (state.rules !== null) return await this.#tellByRules(state, question, told);
      }
    }
    return answer;
  }

  async #answerByRules(
    state: PortState,
    message: Buffer,
    via: { upstream: ResolverTarget; transport: Transport },
  ): Promise<Buffer | null> {
    const question = parseQuestion(message);
    if (question === null) return buildError(message, responseCode.formatError);
    const refused = buildAnswer(question, { code: responseCode.refused });
    const { name, type } = question;
    if (name === null || !isInternet(question) || state.rules === null) return refused;
    const { action, openLength } = state.rules.decide(name);
    if (action === "deny") return refused;
    if (emptyTypes.has(type)) return buildAnswer(question, { code: responseCode.noError });
    const isPassed = passedTypes.has(type);
    if (!isPassed && type !== recordType.a) return refused;
    if (!state.budget.spend(name, openLength, this.#options.nowMs())) return refused;
    const answer = await this.#ask(via.upstream, { name, type });
    if (answer === null) return buildAnswer(question, { code: responseCode.serverFailure });
    const bytesMax = via.transport === "tcp" ? messageBytesMax : question.answerBytesMax;
    if (isPassed) return passedAnswer(question, answer.bytes, bytesMax);
    if (answer.parsed.code !== responseCode.noError) {
      return buildAnswer(question, { code: answer.parsed.code });
    }
    const told = this.#tell(state, name, answer.parsed);
    return await this.#tellByRules(state, question, told, bytesMax);
  }

  /** By UDP, and again by TCP when the answer is too long for that. */
  async #ask(
    upstream: ResolverTarget,
    asked: { name: string; type: number },
  ): Promise<{ bytes: Buffer; parsed: DnsAnswer } | null> {
    const id = randomInt(65_536);
    const question = buildQuestion({ id, ...asked });
    const read = (bytes: Buffer | null): { bytes: Buffer; parsed: DnsAnswer } | null => {
      const parsed = bytes === null ? null : parseAnswer(bytes, asked);
      return bytes === null || parsed === null || parsed.id !== id ? null : { bytes, parsed };
    };
    const short = read(await askUdp(upstream, question, (bytes) => read(bytes) !== null));
    if (short?.parsed.truncated !== true) return short;
    return read(await askTcp(upstream, question)) ?? short;
  }

  /** Notes what a name leads to: the addresses among it that may be reached at all. */
  #tell(state: PortState, name: string, answer: DnsAnswer): Told {
    const { names, addresses } = followAliases(name, answer.records);
    const records: AddressRecord[] = names.slice(1).map((target, index) => {
      return { name: names[index] ?? name, ttl: toldTtlSecondsMax, target };
    });
    const owner = names.at(-1) ?? name;
    const open = addresses
      .filter(({ address }) => !this.#filter.isBlocked(address))
      .slice(0, addressesPerAnswerMax);
    const ttl = Math.min(toldTtlSecondsMax, ...open.map((one) => one.ttl));
    for (const record of records) record.ttl = ttl;
    for (const { address } of open) records.push({ name: owner, ttl, address });
    const told: Told = {
      names,
      records,
      addresses: open.map(({ address }) => address),
      seconds: Math.max(openSecondsMin, ttl),
      isBlocked: open.length === 0 && addresses.length > 0,
    };
    if (state.rules === null) this.#note(state, told);
    return told;
  }

  #note(state: PortState, told: Told): { renew: string[]; evicted: string[] } {
    const { names, addresses, seconds } = told;
    const nowMs = this.#options.nowMs();
    const openUntilMs = nowMs + 2 * seconds * 1000;
    return state.book.tell(names, {
      addresses,
      openUntilMs,
      enoughUntilMs: nowMs + seconds * 1000,
    });
  }

  /** Asks the rules as they are now, which may have changed while the resolver above was thinking. */
  async #tellByRules(
    state: PortState,
    question: DnsQuestion,
    told: Told,
    bytesMax = question.answerBytesMax,
  ): Promise<Buffer> {
    const { rules, port } = state;
    const isStillThere = this.#ports.get(port.address) === state;
    const isRefused =
      told.isBlocked || !isStillThere || (rules !== null && !isAllowed(rules, told.names));
    if (isRefused) return buildAnswer(question, { code: responseCode.refused });
    if (rules !== null) {
      const nowMs = this.#options.nowMs();
      const isOpen = state.book.isOpen(told.addresses, nowMs + told.seconds * 1000);
      if (!isOpen && !state.changeBudget.spend(1, nowMs)) {
        return buildAnswer(question, { code: responseCode.refused });
      }
      const { renew, evicted } = this.#note(state, told);
      try {
        const lines = [
          ...evicted.flatMap((address) => closeAddress(port.index, address)),
          ...renew.flatMap((address) => openAddress(port.index, address, 2 * told.seconds)),
        ];
        if (lines.length > 0) await this.#change(state, `${lines.join("\n")}\n`);
        // Another question's change may be what opens them.
        else await state.changed;
      } catch (error) {
        state.book.forgetOpening(told.addresses);
        this.#options.log.error({ err: error, port }, "cannot open a sprite's addresses");
        return buildAnswer(question, { code: responseCode.serverFailure });
      }
    }
    return buildAnswer(question, { code: responseCode.noError, records: told.records, bytesMax });
  }
}

interface Told {
  /** The asked one and its aliases. */
  names: readonly string[];
  records: readonly AddressRecord[];
  addresses: readonly string[];
  /** How long they have to be open from now on. */
  seconds: number;
  /** The name has addresses, and none that may be reached. */
  isBlocked: boolean;
}

function isAllowed(rules: DomainRules, names: readonly string[]): boolean {
  const [name = "", ...aliases] = names;
  if (rules.decide(name).action === "deny") return false;
  return !aliases.some((alias) => rules.isForbidden(alias));
}

/** With the question again, where it can be read: some clients take no answer without it. */
function failure(message: Buffer, code: number): Buffer | null {
  const question = parseQuestion(message);
  return question === null ? buildError(message, code) : buildAnswer(question, { code });
}

/** The answer of the resolver above under the guest's own id. */
function passedAnswer(question: DnsQuestion, bytes: Buffer, bytesMax: number): Buffer {
  if (bytes.length > bytesMax) return buildAnswer(question, truncated);
  const answer = Buffer.from(bytes);
  answer.writeUInt16BE(question.id, 0);
  return answer;
}

/** No record fits into nothing: the answer says that it is cut, and the client comes by TCP. */
const truncated = {
  code: responseCode.noError,
  records: [{ name: "", ttl: 0, address: "0.0.0.0" }],
  bytesMax: 0,
};
