"""Landings by git: merged, shown, written into trees and branches."""
