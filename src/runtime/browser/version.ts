/** Put there by the build. */
declare const VITRINE_VERSION: string;

/** Of Vitrine. */
export const version: string = VITRINE_VERSION;
