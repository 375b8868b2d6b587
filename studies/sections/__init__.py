"""The parts of a study's report, a file for each subject; `page` holds what they share."""
