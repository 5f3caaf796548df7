// Lint: typescript-eslint's strictest presets with types, and the house's own rules. Layers: tools/layers.mjs.
import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Files where the platform is Node by design; see nodePlaces in tools/layer-table.mjs. */
const nodeFiles = [
  'src/host/node/**',
  'src/accel/kvm/**',
  'src/{guests,oci,cli,server,testing}/**',
  'src/{runtime,sdk}/node/**',
  'src/{runtime,sdk,api}/{node,node-*,*-node}.ts',
  'src/cpu/*/build/**',
  '**/*.test.ts',
  'tools/**',
];

const nodeGlobals = ['Buffer', 'process', 'global', 'require', '__dirname', '__filename', 'setImmediate', 'console'];

export default defineConfig(
  globalIgnores(['dist/', '.build/', 'coverage/', 'docs/api/', 'src/**/assembly/**']),
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { projectService: { allowDefaultProject: ['*.config.ts', 'tools/*.ts', 'examples/*.ts'] } },
    },
    rules: {
      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Addresses and sizes belong in messages, and a number prints itself well.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // There are no enums here (see below), so there is nothing that this could find in its tenth of the time.
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      // An index signature names its key, which a Record does not.
      '@typescript-eslint/consistent-indexed-object-style': 'off',
      // A test double or a stub may have nothing to do.
      '@typescript-eslint/no-empty-function': 'off',
      // Unsound without noUncheckedIndexedAccess (see tsconfig.json): it forbids the very check that an index needs.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // `() => call()` stays readable where the call returns nothing.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      eqeqeq: 'error',
      'object-shorthand': 'error',
      'no-restricted-syntax': [
        'error',
        {
          selector: 'TSEnumDeclaration',
          message: 'Use an `as const` object (style rule 2): an enum adds nothing and compiles apart.',
        },
        {
          selector: 'ExportDefaultDeclaration',
          message: 'Name exports, so that a thing has one name everywhere.',
        },
      ],
    },
  },
  {
    // What runs in a page is compiled apart, with the DOM's types.
    files: ['src/web/**/*.ts', 'src/{host,runtime,sdk}/browser/**/*.ts'],
    languageOptions: { parserOptions: { projectService: false, project: './tsconfig.web.json' } },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { globals: { process: false, console: false, performance: false, URL: false } },
  },
  {
    files: ['src/**/*.ts'],
    ignores: nodeFiles,
    rules: {
      'no-restricted-globals': [
        'error',
        ...nodeGlobals.map((name) => ({ name, message: 'Node only; this layer also runs in a page.' })),
      ],
      // Time and entropy are injected (style rule 12).
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'Take a Clock: time is injected.' },
        { object: 'performance', property: 'now', message: 'Take a Clock: time is injected.' },
        { object: 'Math', property: 'random', message: 'Take a source of entropy: it is injected.' },
        { object: 'crypto', property: 'getRandomValues', message: 'Take a source of entropy: it is injected.' },
      ],
    },
  },
  {
    // Clocks and entropy are made here.
    files: ['src/host/**', 'src/runtime/**', 'src/sdk/browser/**', 'src/web/**'],
    rules: { 'no-restricted-properties': 'off' },
  },
  {
    files: ['*.config.ts', 'tools/*.ts'],
    // The tools want it: a config, a global setup and a reporter are default exports.
    rules: { 'no-restricted-syntax': 'off' },
  },
);
