/** How views > 0 differ from the plain picture; every field is settled, an absent kind is undefined. Part of the feature spec of views. */
export interface Augmentation {
  readonly horizontalFlip: boolean;
}
