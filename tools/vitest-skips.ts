import type { Reporter, TestModule } from 'vitest/node';

/** Lists every skipped test at the end, so that none is skipped in silence. */
export default class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const lines = modules.flatMap((module) =>
      [...module.children.allTests('skipped')].map((test) => {
        const result = test.result();
        const note = result.state === 'skipped' && result.note !== undefined ? ` [${result.note}]` : '';
        return `  ${module.relativeModuleId} > ${test.fullName}${note}`;
      }),
    );
    // A name pattern (-t) or .only skips by choice of whoever runs the tests.
    if (lines.length > 0 && !process.argv.includes('-t')) console.log(`\nSkipped tests:\n${lines.join('\n')}`);
  }
}
