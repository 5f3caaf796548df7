// Rules of the house that oxlint does not have itself; .oxlintrc.json turns them on.
const noEnum = {
  create: (context) => ({
    TSEnumDeclaration(node) {
      const message = 'Use an `as const` object (style rule 2): an enum adds nothing and compiles apart.';
      context.report({ node, message });
    },
  }),
};

export default { meta: { name: 'vitrine' }, rules: { 'no-enum': noEnum } };
