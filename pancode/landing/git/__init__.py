"""Landings by git: merged, shown, written to trees and branches."""
