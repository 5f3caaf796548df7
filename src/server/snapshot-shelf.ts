/** A tenant's snapshots: a file each, with a description beside it. Whatever is half-made goes at the next start. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { Value } from '@sinclair/typebox/value';
import { ApiError } from '../api/errors.js';
import { NAME_PATTERN } from '../api/schema-parts.js';
import { SnapshotInfo } from '../api/schemas.js';
import { writeFileSafely } from '../host/node/snapshot-file.js';
import type { Quota, Share } from './quota.js';

const SNAPSHOT = '.snapshot';
const ABOUT = '.json';
const UNFINISHED = '.part';
const MIB = 2 ** 20;

interface Kept {
  readonly info: SnapshotInfo;
  readonly share: Share;
}

export class SnapshotShelf {
  private readonly kept = new Map<string, Kept>();
  /** Names that are being written. */
  private readonly busy = new Set<string>();

  /** Looks at what is there, and removes what was not finished. */
  constructor(
    private readonly folder: string,
    private readonly quota: Quota,
  ) {
    if (!existsSync(folder)) return;
    const files = readdirSync(folder);
    for (const file of files) if (file.endsWith(ABOUT)) this.adopt(file.slice(0, -ABOUT.length));
    for (const file of files) {
      const name = file.replace(/\.(snapshot|json)$/, '');
      if (!this.kept.has(name)) rmSync(path.join(folder, file), { force: true, recursive: true });
    }
  }

  private adopt(name: string): void {
    if (!new RegExp(NAME_PATTERN).test(name)) return;
    const size = statSync(this.file(name), { throwIfNoEntry: false })?.size;
    if (size === undefined) return;
    try {
      const info: unknown = JSON.parse(readFileSync(path.join(this.folder, name + ABOUT), 'utf8'));
      if (Value.Check(SnapshotInfo, info) && info.name === name && info.size === size) this.keep(info);
    } catch {
      // Without a description nobody knows what it is.
    }
  }

  private keep(info: SnapshotInfo): void {
    const share = this.quota.hold({ disk: Math.ceil(info.size / MIB) });
    this.kept.get(info.name)?.share.release();
    this.kept.set(info.name, { info, share });
  }

  private file(name: string): string {
    return path.join(this.folder, name + SNAPSHOT);
  }

  list(): SnapshotInfo[] {
    return [...this.kept.values()].map(({ info }) => info).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  private find(name: string): Kept {
    const found = this.kept.get(name);
    if (!found) throw new ApiError('not-found', `there is no snapshot ${name}`);
    return found;
  }

  /** Throws an ApiError. */
  get(name: string): SnapshotInfo {
    return this.find(name).info;
  }

  /** Where it lies. Throws an ApiError. */
  fileOf(name: string): string {
    return this.file(this.find(name).info.name);
  }

  /** Keeps what `save` writes to a file; `most`: MiB that it can take. */
  async add(
    about: Omit<SnapshotInfo, 'size' | 'created'>,
    most: number,
    save: (file: string) => Promise<void>,
  ): Promise<SnapshotInfo> {
    const { name } = about;
    if (this.kept.has(name) || this.busy.has(name))
      throw new ApiError('conflict', `there is a snapshot ${name} already`);
    const room = this.quota.take({ disk: most });
    this.busy.add(name);
    const part = path.join(this.folder, name + UNFINISHED);
    try {
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      await save(part);
      const { size } = await stat(part);
      const info = { ...about, size, created: new Date().toISOString() };
      await rename(part, this.file(name));
      const bytes = Buffer.from(`${JSON.stringify(info)}\n`);
      // Only with this it is there.
      writeFileSafely(path.join(this.folder, name + ABOUT), 'description', (target) => target.write(0, bytes));
      this.keep(info);
      return info;
    } catch (error) {
      await rm(part, { force: true });
      if (!this.kept.has(name)) await rm(this.file(name), { force: true });
      throw error;
    } finally {
      this.busy.delete(name);
      room.release();
    }
  }

  /** Throws an ApiError. */
  async remove(name: string): Promise<void> {
    const { share } = this.find(name);
    this.kept.delete(name);
    share.release();
    await rm(path.join(this.folder, name + ABOUT), { force: true });
    await rm(this.file(name), { force: true });
  }
}
