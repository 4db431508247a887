// Runs JUnit classes and says one line per case. The property `without` matches the names of cases that are not run, because
// they would leave something behind.

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.util.*;
import org.junit.platform.engine.FilterResult;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.*;
import org.junit.platform.launcher.core.*;

class Suites {
    static final int WORDS_MAX = 300;

    static class Teller implements TestExecutionListener {
        @Override
        public void executionSkipped(TestIdentifier test, String reason) {
            say("skip", test, reason);
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            String why = result.getThrowable().map(Suites::words).orElse("");
            switch (result.getStatus()) {
                case SUCCESSFUL -> {
                    if (test.isTest()) say("ok", test, "");
                }
                case ABORTED -> say("skip", test, why);
                case FAILED -> say("not ok", test, why);
            }
        }
    }

    // The reason of a failure, and of what it was caused by.
    static String words(Throwable error) {
        StringBuilder words = new StringBuilder();
        for (Throwable at = error; at != null && words.length() < WORDS_MAX; at = at.getCause()) words.append(at).append(" < ");
        String whole = words.toString().replaceAll("\\s+", " ");
        return whole.substring(0, Math.min(whole.length(), WORDS_MAX));
    }

    static String name(TestSource source) {
        MethodSource method = (MethodSource) source;
        return method.getClassName().replaceAll(".*\\.", "") + "::" + method.getMethodName();
    }

    static void say(String verdict, TestIdentifier test, String detail) {
        String name = test.getSource().filter(MethodSource.class::isInstance).map(Suites::name).orElse(test.getDisplayName());
        // A case that runs once per parameter says which.
        String parameter = test.getDisplayName().startsWith("[") ? test.getDisplayName().replaceAll("[^\\w\\[\\] =.-]", "") : "";
        System.out.println(verdict + " " + name + parameter + (detail.isEmpty() ? "" : ": " + detail));
    }

    public static void main(String[] classes) throws Exception {
        LauncherDiscoveryRequestBuilder wanted = LauncherDiscoveryRequestBuilder.request();
        for (String name : classes) wanted.selectors(selectClass(name));
        String without = System.getProperty("without", "");
        PostDiscoveryFilter runs = test -> {
            boolean is_left_out = test.getSource().filter(MethodSource.class::isInstance).map(MethodSource.class::cast)
                .filter(method -> method.getMethodName().matches(without)).isPresent();
            if (is_left_out) System.out.println("skip " + name(test.getSource().get()) + ": is not run");
            return FilterResult.includedIf(!is_left_out);
        };
        wanted.filters(runs);
        wanted.configurationParameter("junit.jupiter.execution.timeout.default", "90 s");
        LauncherFactory.create().execute(wanted.build(), new Teller());
        System.exit(0);
    }
}
