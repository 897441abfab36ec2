import CKernelABI
import Foundation
@testable import SparamxCore
import XCTest

/// The values of sparamx.h and those in Swift are the same, and every one has its sentence.
final class StatusTests: XCTestCase {
    /// NAME = number, as the header writes them.
    private static let header: [String: Int32] = {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../include/sparamx.h")
        let text = try! String(contentsOf: file, encoding: .utf8)
        let pattern = try! NSRegularExpression(pattern: "\\b(SPARAMX_[A-Z0-9_]+)\\s*=\\s*(-?[0-9]+)")
        var values: [String: Int32] = [:]
        for match in pattern.matches(in: text, range: NSRange(text.startIndex..., in: text)) {
            let name = String(text[Range(match.range(at: 1), in: text)!])
            let value = Int32(text[Range(match.range(at: 2), in: text)!])!
            XCTAssertNil(values.updateValue(value, forKey: name), "\(name) twice")
        }
        return values
    }()

    private func family(_ prefix: String) -> [String: Int32] {
        var found: [String: Int32] = [:]
        for (name, value) in Self.header where name.hasPrefix(prefix) {
            found[String(name.dropFirst(prefix.count))] = value
        }
        return found
    }

    private var all: [Status] { (Int32(-1000)...1000).compactMap(Status.init(rawValue:)) }

    func testValuesAreThoseOfTheHeader() {
        var header = family("SPARAMX_ERR_")
        XCTAssertEqual(Self.header["SPARAMX_OK"], 0)
        XCTAssertEqual(Status.ok.rawValue, 0)
        XCTAssertGreaterThan(header.count, 20)
        for status in all where status != .ok {
            // amxSignalStack is AMX_SIGALTSTACK; the others are spelled alike.
            let name = status == .amxSignalStack ? "amxsigaltstack" : "\(status)".lowercased()
            let entry = header.first { $0.key.replacingOccurrences(of: "_", with: "").lowercased() == name }
            XCTAssertEqual(entry?.value, status.rawValue, "\(status)")
            if let entry { header[entry.key] = nil }
        }
        XCTAssertEqual(header, [:], "in the header only")
    }

    func testSentences() {
        var seen = Set<String>()
        for status in all {
            let sentence = "\(status.sentence)"
            XCTAssertTrue(seen.insert(sentence).inserted, "\(status) has the sentence of another")
            XCTAssertFalse(sentence.hasSuffix(".") || sentence.contains("\n"), "\(status)")
            // What is wrong: what to do.
            if status != .ok { XCTAssertEqual(sentence.split(separator: ":").count, 2, "\(status): \(sentence)") }
            // sx_log has 512 bytes, 111 of them for prefix and name.
            XCTAssertLessThan(sentence.utf8.count, 380, "\(status)")
        }
    }

    func testOtherEnumerations() {
        XCTAssertEqual(family("SPARAMX_ISA_"),
                       ["REFERENCE": ISA.reference.rawValue, "AVX512": ISA.avx512.rawValue, "AMX": ISA.amx.rawValue])
        // The header names every type of types.def, and those of activations and expert numbers.
        let named = Dictionary(uniqueKeysWithValues: typeNames.map { ($0.value.uppercased(), $0.key) })
        XCTAssertEqual(family("SPARAMX_TYPE_"), named.merging(["F32": 0, "I32": 26]) { a, _ in a })
        let forms = family("SPARAMX_FORM_")
        XCTAssertEqual(forms["AUTO"], FormChoice.automatic.rawValue)
        XCTAssertEqual(forms["DENSE"], FormChoice.dense.rawValue)
        XCTAssertEqual(forms["SPARSE"], FormChoice.sparse.rawValue)
        XCTAssertEqual(forms["CODED"], FormChoice.coded.rawValue)
        XCTAssertEqual(forms["CODED_SPARSE"], FormChoice.codedSparse.rawValue)
        XCTAssertEqual(forms["AUTO_CODED"], FormChoice.automaticCoded.rawValue)
        XCTAssertNil(FormChoice(rawValue: forms["RAW"]!), "raw cannot be asked for")
    }
}
