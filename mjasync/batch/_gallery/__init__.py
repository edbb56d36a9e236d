"""The gallery: a page of a batch's images, and their thumbnails."""
