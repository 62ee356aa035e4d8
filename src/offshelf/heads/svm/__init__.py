"""The solver of the linear SVM, and cross-validation of C."""
