package v1alpha1

// AnnotationCollected of an APIKey says that a token was collected, by its key id (16
// hex digits): the controller then deletes the delivery Secret that holds it, if it is
// still there. The id of any other token than the newest is ignored.
const AnnotationCollected = "keygate.dev/collected"
