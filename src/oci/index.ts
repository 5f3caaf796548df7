export type { DiskLimits } from './build-disk.js';
export { OciError, type ImageErrorCode } from './errors.js';
export {
  ImageStore,
  type BuildOptions,
  type PullOptions,
  type PullProgress,
  type RemoveOptions,
  type StoredImage,
  type StoreOptions,
} from './image-store.js';
export type { ImageConfig, Platform, Port } from './image.js';
export { familiarName, hasTransport } from './reference.js';
export { resolveUser, type Accounts, type Credentials } from './users.js';
export type { ImageRecord } from './image-records.js';
export type { ImageSettings } from './describe-image.js';
export { pullProgress } from './progress-text.js';
