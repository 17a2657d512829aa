/**
 * What control and edge know of a worker. The implementation may be in this process or, later, on
 * another machine.
 */

import type { Socket } from "node:net";

import type { SpriteLimits } from "../contract/agent-startup.ts";
import type { Durability } from "../contract/durability.ts";
import type { IdleWindow } from "../contract/idle-window.ts";
import type { SpritePolicy } from "../contract/policy.ts";
import type { SpriteStatus } from "../contract/sprite.ts";
import type { UsageReport } from "../contract/usage-report.ts";
import type { UrlEnd } from "../contract/url-lease.ts";

/** All that a worker needs to open a sprite; control keeps it in the registry. */
export interface SpriteSpec {
  id: string;
  name: string;
  environment: Record<string, string>;
  /** Content hash of the image that the sprite was made with; it keeps it. */
  imageHash: string;
  durability: Durability;
  policy: SpritePolicy;
  idleWindow: IdleWindow;
  /** Its disk began as another sprite's, whose identity it must not go on with. */
  isFork: boolean;
}

/** What a fork begins with. */
export interface ForkOrigin {
  spec: SpriteSpec;
  /** Null: the newest state. */
  checkpoint: string | null;
}

export interface WorkerStatusEvent {
  spriteId: string;
  status: SpriteStatus;
  /** What made it so, for people. */
  because: string;
}

/** What a sprite is on the way to. */
export interface SpriteTransition {
  to: SpriteStatus;
  /** ms since the epoch */
  sinceMs: number;
}

/** Of the warm pool (`pool/`). */
export interface PoolState {
  /** Those that a create could take now. */
  ready: number;
  target: number;
  making: number;
}

/** A spare that nobody else gets, until it is claimed or given back. */
export interface Reservation {
  spriteId: string;
  /** Gives it back, unless it was claimed. */
  release: () => void;
}

export interface SpriteUsage {
  spriteId: string;
  report: UsageReport;
}

export interface OpenedArchive {
  /** What `export` was given. */
  sprite: object;
  /**
   * Makes the disk of a new sprite; it is not started.
   * @throws SpriteError invalid_request: damaged, or of an image that is not here; nothing is left of it
   */
  import(spec: SpriteSpec): Promise<void>;
}

/** A request to the disk of a sprite that sleeps. */
export interface Reading {
  /** Answers those of an agent's endpoints that need no more than the disk. */
  socketPath: string;
  /** The request has ended. Calling it again does nothing. */
  done(): void;
}

export interface UrlBusyNote {
  /** Requests whose answer has not begun. */
  requests: number;
  /** Connections with traffic since the last note. */
  connections: number;
}

/** The way to the web server inside a running sprite, as long as its agent lets it be open. */
export interface UrlPort {
  readonly isOpen: boolean;
  /**
   * Its port, once the sprite is awake and it listens; then the sprite stays awake for some seconds by itself.
   * @throws SpriteError nothing_listening, unavailable
   */
  ready(timeoutMs: number): Promise<number>;
  /** A connection inside the sprite's network. @throws SpriteError nothing_listening, bad_gateway, unavailable */
  connect(port: number): Promise<Socket>;
  /** Holds the sprite awake for a moment. */
  noteBusy(note: UrlBusyNote): void;
  /** Called before connections are closed because the sprite sleeps (it may be made ready again) or ends. */
  onEnd(listener: (end: UrlEnd) => void): void;
  close(): void;
}

export interface Worker {
  /** Content hash of the image that new sprites get. */
  readonly defaultImageHash: string;
  /** What each sprite may use; no policy gives it more. */
  readonly limits: SpriteLimits;
  /** Of sprites that have none of their own; null: never. */
  readonly idleWindowMs: number | null;
  /** Makes the sprite's disk and starts it. @throws SpriteError start_failed, disk_full */
  create(spec: SpriteSpec): Promise<void>;
  /**
   * Makes the sprite's disk of another's, whatever that one does meanwhile, and copies no content. It is not
   * started. Nothing is left of one that fails.
   * @throws SpriteError not_found: the source was destroyed, or has no such checkpoint; storage_failure
   */
  fork(spec: SpriteSpec, from: ForkOrigin): Promise<void>;
  /**
   * Starts the sprite unless it runs; concurrent calls share one start, and whoever comes while it ends gets the next one. Resolves with
   * its agent's socket.
   * @param because what needs it, for people
   * @throws SpriteError start_failed, not_found: it is being destroyed; unavailable: not within a minute
   */
  ensureRunning(
    spec: SpriteSpec,
    signal?: AbortSignal,
    because?: string,
  ): Promise<{ socketPath: string }>;
  /** Starts the sprite as `ensureRunning` does. @throws SpriteError start_failed, unavailable */
  openUrl(spec: SpriteSpec): Promise<UrlPort>;
  /**
   * Shows the disk of a sprite that sleeps, without starting it. Null when it does not sleep, or its disk cannot be read
   * before a start has put it right.
   * @throws SpriteError unavailable: too many are read at a time
   */
  openReader(spec: SpriteSpec): Promise<Reading | null>;
  /**
   * Tells a sprite that runs, or is about to, what has changed of its spec while it runs: the
   * durability, the policy. A sleeping one takes it when it starts.
   * @throws SpriteError storage_failure, conflict (it uses more memory than it is to have): it goes on as before
   */
  configure(spec: SpriteSpec): Promise<void>;
  /**
   * The sprite as one archive, with `sprite` as what the registry knows of it. One that runs goes on, and is
   * exported as of now.
   * @throws SpriteError storage_failure
   */
  export(spec: SpriteSpec, sprite: object): AsyncIterable<Uint8Array>;
  /** Reads as far as what the archive says of its sprite. @throws SpriteError invalid_request */
  openArchive(source: AsyncIterable<Uint8Array>): Promise<OpenedArchive>;
  /**
   * A sprite that is made already and nobody's. A `create` with its id takes it; its `release` gives back one that was
   * not taken. Null when there is none.
   */
  reserve(): Reservation | null;
  /**
   * Removes the spare sprites that a server before left behind, told from those that somebody has by the registry,
   * and begins to keep some. Never rejects.
   */
  openPool(isRegistered: (spriteId: string) => boolean): Promise<void>;
  poolState(): PoolState;
  /**
   * Brings what runs since before this server in line with the registry, and puts to sleep what that does not know.
   * Before the first request.
   * @param specOf null: no such sprite
   */
  reconcile(specOf: (spriteId: string) => SpriteSpec | null): Promise<void>;
  status(spriteId: string): SpriteStatus;
  /** Null when it is on the way to nothing. */
  transition(spriteId: string): SpriteTransition | null;
  /** Lets its processes go on if they are suspended, and starts it if it sleeps. @throws SpriteError */
  wake(spec: SpriteSpec): Promise<void>;
  /**
   * Puts the sprite to sleep when what is under way has ended; requests that come meanwhile wake it again.
   * @param isForced also when a command runs or a task holds it
   * @throws SpriteError busy: one does, `details.held_by`
   */
  sleep(spec: SpriteSpec, options: { isForced: boolean }): Promise<void>;
  /** Ends the sprite's processes and stores its disk. */
  stop(spriteId: string, because?: string): Promise<void>;
  /** Ends everything of the sprite, here and in the bucket. */
  destroy(spriteId: string): Promise<void>;
  onStatus(listener: (event: WorkerStatusEvent) => void): () => void;
  /** Called with what a sprite has used so far, now and then while it runs, and when it ends. */
  onUsage(listener: (usage: SpriteUsage) => void): () => void;
  /** Tells of every sprite once more what is known on this machine: a server that was killed may not have heard it. */
  tellKeptUsage(): Promise<void>;
  /** Changes of state that have taken too long since the server started. */
  readonly stuckTransitions: number;
  /** Of the sprites that have processes, by id. */
  readonly usageNow: ReadonlyMap<string, UsageReport>;
}
