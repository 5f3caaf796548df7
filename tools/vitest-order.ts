import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Files that take longest, most of them first: one that begins last has the other processor wait for it. Vitest knows no times in
 * a new clone and goes by the size of files, which says little of one that boots a guest.
 */
const LONG = [
  'cli/firmware-boot',
  'cli/net',
  'cli/detached',
  'accel/kvm/faults',
  'runtime/node/faults',
  'server/page',
  'sdk/vm',
  'cli/gdb',
  'cli/sharing',
  'vmm/smp/litmus',
  'cli/top',
  'machine/microvm/microvm',
  'server/page-library',
  'cli/image-run',
  'cli/image',
  'server/serve',
  'server/console',
  'cli/bad-input',
].map((name) => `/src/${name}.test.ts`);

const rank = ({ moduleId }: TestSpecification): number => {
  const place = LONG.findIndex((name) => moduleId.endsWith(name));
  return place < 0 ? LONG.length : place;
};

/** Long files first, and the files of a project one after the other, so that those that share processes can. */
export default class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const projects = this.ctx.projects.map(({ name }) => name);
    const project = (file: TestSpecification): number => projects.indexOf(file.project.name);
    return sorted.sort((a, b) => project(a) - project(b) || rank(a) - rank(b));
  }
}
